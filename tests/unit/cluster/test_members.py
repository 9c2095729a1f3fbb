"""Members of channels: who is one, and who is told."""

import trio
from trio.testing import MockClock

from tests.unit.cluster.support import APP, Peer, peers

_ROOM = "presence-room"


def _watch(*nodes: Peer) -> None:
    for node in nodes:
        node.member.watch([node.member.member_shard(APP, _ROOM)])


def _members(node: Peer, channel: str = _ROOM) -> dict[str, str]:
    return dict(node.member.members(APP, channel))


async def test_a_member_joins_and_leaves_once_whatever_its_connections_and_nodes(autojump_clock: MockClock) -> None:
    """Everybody who watches is told, the node that it is on as well."""
    async with peers(3) as (one, two, watcher):
        _watch(one, watcher)
        await trio.sleep(0.5)
        for node in (one, one, two):
            node.member.join_member(APP, _ROOM, "ann", "{}")
        await trio.sleep(0.5)
        for node in (one, two, one):
            assert _members(watcher) == _members(one) == {"ann": "{}"}
            node.member.leave_member(APP, _ROOM, "ann")
            await trio.sleep(0.1)
        assert one.members == watcher.members == [(_ROOM, "ann", "{}", True), (_ROOM, "ann", "{}", False)]
        assert _members(watcher) == _members(one) == {}
        assert two.members == []


async def test_a_member_that_was_there_before_is_seen_by_whoever_watches_later(autojump_clock: MockClock) -> None:
    """What the node wrote itself included; nobody is told of that, it is read."""
    async with peers(2) as (one, two):
        one.member.join_member(APP, _ROOM, "ann", "1")
        one.member.join_member(APP, "presence-hall", "bob", "2")
        two.member.join_member(APP, _ROOM, "cat:dog", "3")
        shards = {node.member.member_shard(APP, channel) for node in (one, two) for channel in (_ROOM, "presence-hall")}
        one.member.watch(shards)
        await trio.sleep(0.5)
        assert _members(one) == {"ann": "1", "cat:dog": "3"}
        assert _members(one, "presence-hall") == {"bob": "2"}
        assert one.members == [(_ROOM, "cat:dog", "3", True)]


async def test_a_member_keeps_its_first_info_while_it_has_a_subscription(autojump_clock: MockClock) -> None:
    """One that comes back within the linger may bring another, which is no edge."""
    async with peers(2) as (node, watcher):
        _watch(node, watcher)
        await trio.sleep(0.5)
        node.member.join_member(APP, _ROOM, "ann", "first")
        node.member.join_member(APP, _ROOM, "ann", "second")
        await trio.sleep(0.1)
        assert _members(watcher) == {"ann": "first"}
        node.member.leave_member(APP, _ROOM, "ann", 1.0)
        node.member.leave_member(APP, _ROOM, "ann", 1.0)
        await trio.sleep(0.5)
        node.member.join_member(APP, _ROOM, "ann", "third")
        await trio.sleep(2.0)
        assert _members(watcher) == _members(node) == {"ann": "third"}
        assert watcher.members == node.members == [(_ROOM, "ann", "first", True)]


async def test_nodes_with_different_infos_of_a_member_agree_on_one(autojump_clock: MockClock) -> None:
    """Whoever watched first; and they agree again when one of them is gone."""
    async with peers(3) as (one, two, watcher):
        low, high = sorted((one, two), key=lambda node: node.member.node_id)
        _watch(one, watcher)
        await trio.sleep(0.5)
        for node, info in ((high, "high"), (low, "low")):
            node.member.join_member(APP, _ROOM, "ann", info)
        await trio.sleep(0.1)
        _watch(two)
        await trio.sleep(0.5)
        assert [_members(node) for node in (one, two, watcher)] == [{"ann": "low"}] * 3
        low.member.leave_member(APP, _ROOM, "ann")
        await trio.sleep(0.1)
        assert [_members(node) for node in (one, two, watcher)] == [{"ann": "high"}] * 3


async def test_a_member_that_only_reloads_makes_no_noise(autojump_clock: MockClock) -> None:
    """It lingers as users do; an explicit goodbye is told at once."""
    async with peers(2) as (node, watcher):
        _watch(watcher)
        await trio.sleep(0.5)
        node.member.join_member(APP, _ROOM, "ann", "{}")
        node.member.leave_member(APP, _ROOM, "ann", 1.0)
        await trio.sleep(0.8)
        node.member.join_member(APP, _ROOM, "ann", "{}")
        await trio.sleep(2)
        assert watcher.members == [(_ROOM, "ann", "{}", True)]
        node.member.leave_member(APP, _ROOM, "ann", 1.0)
        await trio.sleep(0.8)
        assert len(watcher.members) == 1
        await trio.sleep(0.5)
        assert watcher.members[1:] == [(_ROOM, "ann", "{}", False)]
        assert _members(watcher) == {}
        assert not node.member._members._left_at


async def test_a_dead_node_s_members_leave_once(autojump_clock: MockClock) -> None:
    """Those who are on another node too stay."""
    async with peers(3) as (one, two, watcher):
        _watch(watcher)
        for user in ("ann", "bob"):
            one.member.join_member(APP, _ROOM, user, "{}")
        two.member.join_member(APP, _ROOM, "bob", "{}")
        await trio.sleep(3)
        watcher.members.clear()
        one.life.cancel()
        await trio.sleep(10)
        assert watcher.members == [(_ROOM, "ann", "{}", False)]
        assert _members(watcher) == {"bob": "{}"}


async def test_a_listener_that_acts_on_an_edge_does_not_mix_up_the_members(autojump_clock: MockClock) -> None:
    """What it leads to is told after what it was told."""
    async with peers(2) as (node, other):
        _watch(node)
        await trio.sleep(0.5)
        tell = node.member_edges

        class Replacing:
            """Lets bob in when ann leaves."""

            def member_edges(self, edges: object) -> None:
                """See `Listener`."""
                tell(edges)  # type: ignore[arg-type]
                if node.members[-1] == (_ROOM, "ann", "{}", False):
                    for user in ("bob", "ann"):
                        node.member.join_member(APP, _ROOM, user, "{}")

        node.member._members._listener = Replacing()
        node.member.join_member(APP, _ROOM, "ann", "{}")
        node.member.leave_member(APP, _ROOM, "ann")
        assert [(user, joined) for _, user, _, joined in node.members] == [
            ("ann", True),
            ("ann", False),
            ("bob", True),
            ("ann", True),
        ]
        assert _members(node) == {"bob": "{}", "ann": "{}"}
        assert not other.members


def _would_be_missed(node: Peer) -> bool:
    return node.member.would_be_missed


async def test_a_member_would_be_missed_until_it_is_elsewhere_or_its_linger_has_ended(autojump_clock: MockClock) -> None:
    """A leaving node says goodbye only then, so that nobody is told of members who come back."""
    async with peers(2) as (leaving, other):
        _watch(leaving, other)
        for user in ("mover", "goer"):
            leaving.member.join_member(APP, _ROOM, user, "{}")
        await trio.sleep(0.5)
        assert not _would_be_missed(leaving)  # those who are here have a connection, which is closed first
        leaving.member.leave_member(APP, _ROOM, "mover", 10.0)
        assert _would_be_missed(leaving)
        other.member.join_member(APP, _ROOM, "mover", "{}")
        await trio.sleep(0.1)
        assert not _would_be_missed(leaving)
        leaving.member.leave_member(APP, _ROOM, "goer", 10.0)
        await trio.sleep(9.5)
        assert _would_be_missed(leaving)
        await trio.sleep(1)
        assert not _would_be_missed(leaving)
        assert (_ROOM, "mover", "{}", False) not in other.members
