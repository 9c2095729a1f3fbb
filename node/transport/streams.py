"""What differs between Trio streams: addresses, socket options, and how to part from a peer."""

import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import trio

_LINGER_BYTES = 1024 * 1024
_CLOSE_TIMEOUT = 1.0
_SEND_BUFFER = 256 * 1024
"""Bytes; Linux takes twice that. By itself it lets 4 MiB wait for each peer that does not read, before any outbox does."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of accepting that pass when connections end: no file descriptors, or no memory."""

BACK_OFF = 0.1
"""Seconds without accepting then."""

DOWN = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What a Trio stream raises when the peer or the stream is gone."""


def socket_of(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """The socket at the bottom of a plain or TLS stream; None where there is none, as in memory."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


def peer_of(stream: trio.abc.Stream) -> str:
    """The peer's `address:port`; empty without one, and for a peer that is gone already."""
    sock = socket_of(stream)
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return ""
    try:
        return describe_address(sock.getpeername())
    except OSError:
        return ""


def tune(stream: trio.abc.Stream, user_timeout: float) -> None:
    """Send small frames at once, and notice peers that are gone without a word. `user_timeout` in seconds."""
    sock = socket_of(stream)
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        tune_socket(sock, user_timeout)


def tune_socket(sock: socket.socket | trio.socket.SocketType, user_timeout: float) -> None:
    """The same for the TCP socket itself; and bound what the kernel keeps for a peer that does not read."""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout * 1000))


async def hang_up(stream: trio.abc.Stream, *, linger: float = 0.0) -> None:
    """Close a stream after the last word was sent. Takes `linger` and a second at most; raises nothing of the stream's.

    `linger`: the peer may be sending still. Closing with its bytes unread would reset the connection and could
    destroy the last word on its way, so for up to that many seconds they are read and thrown away.
    Cancelled, it may leave the stream to `drop`.
    """
    with suppress(*DOWN):
        if linger:
            with trio.move_on_after(linger):
                await _discard(stream)
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await stream.aclose()  # TLS says goodbye here, and closes also when the peer does not take it


async def drop(stream: trio.abc.Stream) -> None:
    """Close a stream at once, whatever is on its way. Never raises."""
    with trio.CancelScope(shield=True), suppress(*DOWN):
        await trio.aclose_forcefully(stream)


async def _discard(stream: trio.abc.Stream) -> None:
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
    discarded = 0
    while discarded < _LINGER_BYTES:
        data = await stream.receive_some()
        if not data:
            return
        discarded += len(data)


def client_of(stream: trio.abc.Stream, headers: Mapping[str, str], *, trust: bool) -> tuple[str, bool]:
    """Who asks, and whether over TLS: what the nearest proxy says if it is to be trusted, else what the stream says."""
    remote, secure = peer_of(stream), isinstance(stream, trio.SSLStream)
    return as_forwarded(remote, headers, secure=secure, trust=trust)


def as_forwarded(remote: str, headers: Mapping[str, str], *, secure: bool, trust: bool) -> tuple[str, bool]:
    """Who asks, and whether over TLS: as it seems, or by the word of a trusted proxy where it says something."""
    if not trust:
        return remote, secure
    forwarded = _last(headers.get("x-forwarded-proto")).lower() == "https"
    return _last(headers.get("x-forwarded-for")) or remote, secure or forwarded


def describe_address(address: tuple[Any, ...]) -> str:
    """An IP socket's address as `address:port`."""
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _last(header: str | None) -> str:
    """The nearest proxy's own entry: those before it came with the request."""
    return (header or "").rpartition(",")[2].strip()
