"""Confirmations: nobody stands still because many wait for the same."""

import trio
from trio.testing import MockClock

from tests.unit.cluster.support import SETTINGS, peers


async def test_those_who_wait_for_one_shard_are_told_in_slices(autojump_clock: MockClock) -> None:
    """A thousand watchers wait for what one peer knows: others run in between."""
    async with peers(2) as (node, peer):
        held_back: list[tuple[str, bytes]] = []
        peer.bus.drops = lambda subject, payload: b"snapshot" in payload and not held_back.append((subject, payload))  # type: ignore[func-returns-value]
        for number in range(1000):
            node.claim(f"user {number}", "ann")
        await trio.sleep(SETTINGS.fence_timeout / 4)
        assert not node.results
        peer.bus.drops = lambda _subject, _payload: False
        for subject, payload in held_back:
            peer.bus.publish(subject, payload)
        most = told = len(node.results)
        while told < 1000:
            await trio.lowlevel.checkpoint()
            most, told = max(most, len(node.results) - told), len(node.results)
        assert node.results == [True] * 1000
        assert most <= 100
