"""The Pusher Channels protocol as pure functions and values: bytes and text in, values and frames out.

Rules for whoever edits this package: nothing here waits, reads a clock, draws a random number or logs. A
decoder returns a value or raises an error of `errors`, whatever it is given; an encoder returns the bytes
of a whole WebSocket frame. What a connection *does* with a message is decided in `node.connection`.
"""
