"""Presence channels over three real nodes when something dies: members equal the truth again, and each change is told once.

What each member was told is replayed: `subscription_succeeded` sets its view, `member_added` and `member_removed` change it,
and none of them may say what the view knows already.
"""

import json
from collections.abc import Iterable

import pytest
import trio

from tests.client import Client, connect
from tests.integration.support import APP, all_of, api, ready, signed_in, start_three
from tests.processes import Node, Processes

ROOM = "presence-room"
REMOVED_WITHIN = 4.0  # seconds: three until a node that was killed is proved gone, and one for this machine
SUCCEEDED, ADDED, REMOVED = (
    f"pusher_internal:{event}" for event in ("subscription_succeeded", "member_added", "member_removed")
)


class Member:
    """One member's connection to the room, and what it knows of the others."""

    def __init__(self, user: str, client: Client) -> None:
        self.user = user
        self.client = client

    async def join(self) -> None:
        """Subscribe, and wait for the success."""
        channel_data = json.dumps({"user_id": self.user, "user_info": {"name": self.user}})
        signature = APP.sign(f"{self.client.socket_id}:{ROOM}:{channel_data}")
        data = {"channel": ROOM, "auth": f"{APP.key}:{signature}", "channel_data": channel_data}
        successes = len(self._told(SUCCEEDED))
        await self.client.send("pusher:subscribe", data)
        await self.client.until(lambda: len(self._told(SUCCEEDED)) > successes)

    async def sees(self, users: set[str]) -> None:
        """Return when the view is this."""
        await self.client.until(lambda: self.view == users)

    @property
    def view(self) -> set[str]:
        """Who is there, as far as this member was told. Nothing may be told twice."""
        known: set[str] = set()
        for told in self.client.told:
            if told.channel != ROOM:
                continue
            if told.event == SUCCEEDED:
                presence = told.data["presence"]
                assert sorted(presence["ids"]) == sorted(presence["hash"])
                assert presence["count"] == len(presence["ids"])
                known = set(presence["ids"])
            elif told.event == ADDED:
                assert told.data["user_id"] not in known, "added twice"
                known.add(told.data["user_id"])
            elif told.event == REMOVED:
                assert told.data["user_id"] in known, "removed twice"
                known.remove(told.data["user_id"])
        return known

    def changes(self, since: float) -> list[tuple[str, str]]:
        """What was told from a moment on: the event, and who."""
        return [(t.event, t.data["user_id"]) for t in self.client.told if t.at >= since and t.event in {ADDED, REMOVED}]

    def _told(self, event: str) -> list[object]:
        return [told for told in self.client.told if told.event == event and told.channel == ROOM]


async def members(nursery: trio.Nursery, node: Node, users: Iterable[str]) -> list[Member]:
    """One member for each user, all joining at once on one node."""
    found = [Member(user, await connect(nursery, APP, node.port)) for user in users]
    await all_of(*(member.join for member in found))
    return found


async def all_see(watchers: Iterable[Member], users: set[str]) -> None:
    """Return when everybody's view is this."""
    for member in watchers:
        await member.sees(users)


async def listed(node: Node) -> set[str]:
    """Who is in the room, by a node's API."""
    async with api(node) as backend:
        return {user["id"] for user in (await backend.get(f"/channels/{ROOM}/users"))["users"]}


async def test_members_of_a_killed_node_are_removed_once_and_who_is_elsewhere_stays(processes: Processes) -> None:
    """A member on two nodes makes no event; the others go within the bound; every node lists the same."""
    _, (doomed, second, third) = start_three(processes)
    async with trio.open_nursery() as nursery:
        everywhere = await members(nursery, doomed, ["lonely-1", "lonely-2", "doubled"])
        everywhere += await members(nursery, second, ["doubled", "ann"])
        everywhere += await members(nursery, third, ["bob"])
        everybody = {"lonely-1", "lonely-2", "doubled", "ann", "bob"}
        await all_see(everywhere, everybody)

        killed_at = trio.current_time()
        doomed.kill()
        rest = everywhere[3:]
        await all_see(rest, {"doubled", "ann", "bob"})
        assert trio.current_time() - killed_at < REMOVED_WITHIN
        for member in rest:
            assert sorted(member.changes(killed_at)) == [(REMOVED, "lonely-1"), (REMOVED, "lonely-2")]
        for node in (second, third):
            assert await listed(node) == {"doubled", "ann", "bob"}
        nursery.cancel_scope.cancel()


async def test_members_stay_and_are_right_again_when_nats_restarts(processes: Processes) -> None:
    """Nobody is removed because the bus was away; who left meanwhile is, once, when it is back."""
    nats, nodes = start_three(processes)
    async with trio.open_nursery() as nursery:
        (ann, leaver) = await members(nursery, nodes[0], ["ann", "leaver"])
        (bob,) = await members(nursery, nodes[1], ["bob"])
        (cat,) = await members(nursery, nodes[2], ["cat"])
        await all_see((ann, bob, cat), {"ann", "bob", "cat", "leaver"})

        away_at = trio.current_time()
        nats.kill()
        await leaver.client.close()
        await all_see([ann], {"ann", "bob", "cat"})
        nats.start()
        await ready(nats, *nodes)
        await all_see((ann, bob, cat), {"ann", "bob", "cat"})
        (dan,) = await members(nursery, nodes[2], ["dan"])
        await all_see((ann, bob, cat, dan), {"ann", "bob", "cat", "dan"})
        for member in (ann, bob, cat):
            assert member.changes(away_at) == [(REMOVED, "leaver"), (ADDED, "dan")]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("politely", [True, False], ids=["unsubscribed", "reloaded"])
async def test_a_member_who_returns_on_another_node_makes_no_noise_unless_it_left(
    processes: Processes, politely: bool
) -> None:
    """A reload is silent; an unsubscribe is told at once, and so is the return."""
    _, nodes = start_three(processes)
    async with trio.open_nursery() as nursery:
        (watcher,) = await members(nursery, nodes[0], ["watcher"])
        (ann,) = await members(nursery, nodes[1], ["ann"])
        await all_see([watcher], {"watcher", "ann"})
        start = trio.current_time()
        if politely:
            await ann.client.send("pusher:unsubscribe", {"channel": ROOM})
            await all_see([watcher], {"watcher"})
        else:
            await ann.client.close()
        await members(nursery, nodes[2], ["ann"])
        (late,) = await members(nursery, nodes[2], ["late"])
        await all_see([watcher, late], {"watcher", "ann", "late"})
        noise = [(REMOVED, "ann"), (ADDED, "ann")] if politely else []
        assert watcher.changes(start) == [*noise, (ADDED, "late")]
        nursery.cancel_scope.cancel()


async def test_presence_is_not_sign_in_and_sign_in_is_not_presence(processes: Processes) -> None:
    """A member is not online, and a signed-in user is no member, on any node."""
    _, nodes = start_three(processes)
    async with trio.open_nursery() as nursery, api(nodes[2]) as backend:
        await members(nursery, nodes[0], ["member"])
        (watcher,) = await signed_in(nursery, nodes[1], ["user"], ["member"])
        assert watcher.changes_of("member") == [False]
        assert await backend.connections("member") == 0
        assert await listed(nodes[1]) == {"member"}
        await backend.terminate("member")
        assert await listed(nodes[2]) == {"member"}
        nursery.cancel_scope.cancel()
