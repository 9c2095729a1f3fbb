"""RFC 6455, section by section: every rule that a client can keep or break, on every transport.

The groups are those of the Autobahn fuzzing server suite, the measure that WebSocket libraries are held to; the cases are
our own. A node does not echo, but the session of `tests/conformance/sites.py` does, so that what a transport hands to a
session can be read back; `test_pusher.py` has a real node's answers, where `pusher:pong` is the echo of `pusher:ping`.

| Autobahn group | what | RFC 6455 | here |
|---|---|---|---|
| 1 framing | texts and binary messages of every form of length | 5.2, 5.6 | `test_framing.py` |
| 2 pings and pongs | payloads, unasked pongs, many at once, in pieces | 5.5.2, 5.5.3 | `test_control.py` |
| 3 reserved bits | each of the seven patterns, in every kind of frame | 5.2 | `test_control.py` |
| 4 opcodes | reserved ones, with and without a payload | 5.2 | `test_control.py` |
| 5 fragmentation | joined texts, control frames between, what may not follow what | 5.4 | `test_fragments.py` |
| 6 UTF-8 | all valid and invalid forms, in one frame and in fragments, failing fast | 8.1 | `test_utf8.py` |
| 7 closing | codes, reasons, what follows a close frame | 5.5.1, 7 | `test_closes.py` |
| 9 limits | long messages, whole and chopped, and very many; `benchmarks/` measures speed | 10.4 | `test_limits.py` |
| 10 auto-fragmentation | a long text in frames of 1300 bytes | 5.4 | `test_limits.py` |
| 12, 13 compression | never agreed to, whatever is offered, so never allowed | 9.1 | `test_handshake.py` |
| the handshake | what Autobahn takes for granted | 4.2 | `test_handshake.py` |

Where a node differs from an echo server: binary messages are refused with 1003 (RFC 6455 7.4.1), and a message is as long
as `websocket.max_message_bytes` at most, beyond which the code is 1009.

Broken UTF-8 is refused at the end of the frame that broke it at the latest (Autobahn's 6.4 calls sooner strict); the
transport over trio-websocket does not even wait for that.
"""
