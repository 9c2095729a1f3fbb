"""The attachment to NATS, with a real server: how it ends."""

import pytest
import trio

from cluster import NatsBus, NatsSettings
from cluster.nats_client import SlimClient
from tests.processes import Processes


class Listening:
    """Hears what becomes of the bus."""

    def __init__(self) -> None:
        self.up = trio.Event()

    def bus_up(self) -> None:
        """See `cluster.bus.Watcher`."""
        self.up.set()

    def bus_down(self) -> None:
        """See `cluster.bus.Watcher`."""


async def test_bus_ends_quietly_when_the_server_goes_while_it_says_goodbye(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py raises what the stream raised: a node that stops must not fail because NATS stops too."""
    close = SlimClient.close

    async def close_and_fail(client: SlimClient) -> None:
        await close(client)
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(SlimClient, "close", close_and_fail)
    nats = processes.start_nats()
    watcher = Listening()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(NatsBus(NatsSettings([nats.url])).run, watcher)
            await watcher.up.wait()
            nursery.cancel_scope.cancel()
