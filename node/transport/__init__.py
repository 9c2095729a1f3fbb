"""Bytes on one side, the session on the other: everything that touches a client's stream.

    listener ──▶ http ──▶ head              an accepted stream, its requests, how bytes become requests
                  │
                  └─────▶ websocket ──▶ outbox     after an upgrade: one connection and what waits for it

`seam.py` is the border: the session offers frames to a `Transport` and hears from it as a `Receiver`; it cannot
tell which transport it has. The one here wraps trio-websocket and works on any Trio stream: plain, TLS, unix
sockets, in-memory streams in tests. A faster one for plain TCP may take the place of listener, http and websocket
for its listeners; `seam.py`, `head.py`, `outbox.py` and `close_frame.py` are pure so that it can share them, and
`tests/conformance` runs the same cases against every transport.
"""
