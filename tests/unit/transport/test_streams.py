"""What the node makes of a stream and its proxies."""

import socket

import pytest
import trio
from trio.testing import memory_stream_pair

from node.transport.streams import client_of, socket_of, tune


async def test_socket_notices_dead_peers_when_it_is_tuned() -> None:
    """Small frames go out at once, and unacknowledged ones have a deadline."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()) as stream:
        tune(stream, 60.0)
        sock = socket_of(stream)
        assert sock is not None
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


async def test_client_has_an_address_with_brackets_when_it_uses_ipv6() -> None:
    """Address and port can be told apart."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        (listener,) = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    async with listener, await trio.open_tcp_stream("::1", listener.socket.getsockname()[1]) as stream:
        assert client_of(stream, {}, trust=False)[0].startswith("[::1]:")


def test_client_is_who_the_nearest_proxy_says_when_it_is_trusted() -> None:
    """Entries before the last came with the request and prove nothing; untrusted, none counts."""
    stream, _ = memory_stream_pair()
    headers = {"x-forwarded-for": "203.0.113.9, 192.0.2.1", "x-forwarded-proto": "http, HTTPS"}
    assert client_of(stream, headers, trust=True) == ("192.0.2.1", True)
    assert client_of(stream, headers, trust=False) == ("", False)
    assert client_of(stream, {}, trust=True) == ("", False)
