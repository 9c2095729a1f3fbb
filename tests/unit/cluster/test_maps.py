"""Maps on the bus: snapshots in parts, and what becomes of them when one is lost."""

import msgpack
import pytest
import trio
from trio.testing import MockClock

from cluster.envelope import Ask, Snapshot, decode
from cluster.maps import _split
from tests.unit.cluster.support import APP, Peer, peers

_USERS = [f"user {number}" for number in range(100)]


def _snapshots(peer: Peer) -> list[Snapshot]:
    messages = [decode(payload) for _, payload in peer.bus.sent]
    return [message for message in messages if isinstance(message, Snapshot)]


async def _sign_in_all(node: Peer) -> None:
    node.bus.max_payload = 200
    for user in _USERS:
        node.claim(user)
    await trio.sleep(0.5)
    assert len(node.results) == len(_USERS)


def _online(node: Peer) -> int:
    return sum(node.member.is_online(APP, user) for user in _USERS)


def test_entries_are_split_into_parts_within_the_limit() -> None:
    """All of them, each once; no entries are one part."""
    entries = dict.fromkeys(_USERS, 1)
    parts = list(_split(entries, 50))
    assert len(parts) > 1
    assert [user for part in parts for user in part] == _USERS
    assert list(_split({}, 50)) == [{}]
    assert list(_split(entries, 1)) == [{user: 1} for user in _USERS]
    assert all(len(msgpack.packb(part)) <= 50 for part in parts)


async def test_a_snapshot_in_parts_is_one_snapshot(autojump_clock: MockClock) -> None:
    """The watcher is signed in when it is whole."""
    async with peers(2) as (node, watcher):
        await _sign_in_all(node)
        watcher.claim("watcher", *_USERS)
        await trio.sleep(0.5)
        assert watcher.results == [True]
        assert _online(watcher) == len(_USERS)
        assert max(snapshot.parts for snapshot in _snapshots(node)) >= 3


@pytest.mark.parametrize("lost", [0, 1, -1])
async def test_a_snapshot_that_lost_a_part_is_asked_for_again(lost: int, autojump_clock: MockClock) -> None:
    """Whichever part it was; never is half of it taken for the whole."""
    async with peers(2) as (node, watcher):
        await _sign_in_all(node)

        def drops(_subject: str, payload: bytes) -> bool:
            message = decode(payload)
            return isinstance(message, Snapshot) and message.part == lost % message.parts

        node.bus.drops = drops
        watcher.claim("watcher", *_USERS)
        await trio.sleep(0.5)
        assert watcher.results == []
        assert _online(watcher) == 0
        node.bus.drops = lambda _subject, _payload: False
        await trio.sleep(1.5)
        assert watcher.results == [True]
        assert _online(watcher) == len(_USERS)
        assert watcher.counts.repairs["unanswered"]


async def test_parts_of_two_snapshots_are_never_mixed(autojump_clock: MockClock) -> None:
    """The end of an older one and the beginning of a newer one are no snapshot."""
    async with peers(2) as (node, watcher):
        shard = next(iter(watcher.member.shards_of(APP, ["ann"])))
        name = node.member.node_id
        node.bus.drops = lambda _subject, payload: isinstance(decode(payload), Snapshot)
        watcher.claim("watcher", "ann")
        maps = watcher.member._maps
        maps.receive_snapshot(Snapshot(name, shard, 1, 0, 2, {"ann": 1}))
        maps.receive_snapshot(Snapshot(name, shard, 2, 1, 2, {"bob": 1}))
        maps.receive_snapshot(Snapshot(name, shard, 2, 1, 2, {"bob": 1}))
        assert not maps.is_ready(shard)
        maps.receive_snapshot(Snapshot(name, shard, 2, 0, 2, {}))
        maps.receive_snapshot(Snapshot(name, shard, 2, 1, 2, {"bob": 1}))
        assert maps.is_ready(shard)
        assert not watcher.member.is_online(APP, "ann")


async def test_a_flood_of_questions_is_bounded(autojump_clock: MockClock) -> None:
    """What is over the bound is dropped: whoever asks asks again."""
    async with peers(2) as (node, other):
        shards = tuple(f"presence.app.{number}" for number in range(9_000))
        for _ in range(3):
            node.member._maps.receive_ask(Ask(other.member.node_id, shards))
        assert len(node.member._maps._asked) <= 10_000
