"""How many system calls the fast transport spends: what its speed rests on."""

import socket
from typing import Any

import pytest
import trio

from node.transport.plain import PlainListener
from node.transport.settings import TransportSettings
from tests.conformance.sites import start_plain
from tests.wire import TEXT, masked


class CountingSocket(socket.socket):
    """Counts what it sends."""

    sends = 0

    def send(self, *args: Any) -> int:
        """Send, counted for all sockets together."""
        CountingSocket.sends += 1
        return super().send(*args)


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> type[CountingSocket]:
    """Accepted sockets that count."""

    def accept(listener: PlainListener) -> tuple[socket.socket, Any]:
        sock, address = listener.sock.accept()
        return CountingSocket(fileno=sock.detach()), address

    monkeypatch.setattr(PlainListener, "accept_nowait", accept)
    CountingSocket.sends = 0
    return CountingSocket


async def test_handshake_and_first_frame_leave_in_one_call(nursery: trio.Nursery, sends: type[CountingSocket]) -> None:
    """A connection costs one send(2)."""
    site = await start_plain(nursery, TransportSettings())
    site.acceptor.greet = lambda transport: transport.offer(b"\x81\x02hi")
    client, _ = await site.open()
    assert await client.read_text() == "hi"
    assert sends.sends == 1
    await site.aclose()


async def test_answers_leave_in_one_call_when_the_messages_came_in_one(
    nursery: trio.Nursery, sends: type[CountingSocket]
) -> None:
    """A burst, as of subscriptions after connecting, is answered at once."""
    site = await start_plain(nursery, TransportSettings())
    client, _ = await site.open()
    before = sends.sends
    await client.send(masked(TEXT, b"hello") * 20)
    for _ in range(20):
        assert await client.read_text() == "hello"
    assert sends.sends - before == 1
    await site.aclose()
