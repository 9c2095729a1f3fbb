"""Wrong versions of the cluster, each without one thing that makes it right. The simulation must find every one of them.

A mutant is a context manager; `CAUGHT_BY` says in which profile, and by which complaint, it shows itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from cluster.cache import Cache
from cluster.channels import Channels
from cluster.confirmations import Confirmations
from cluster.directory import Directory, Outcome
from cluster.fence import Fence
from cluster.held import Held, HeldInterests
from cluster.holders import Holders
from cluster.indexes import Roster
from cluster.maps import Maps
from cluster.subjects import map_of
from tests.sim.room_scenario import Habits


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is replaced by what, and how that shows."""

    owner: type
    name: str
    replacement: Callable[..., Any]
    profile: str
    complaint: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run with the mutant."""
        with patch.object(self.owner, self.name, self.replacement):
            yield


def _pass_at_once(_fence: Fence, passed: Callable[[], None]) -> None:
    passed()


async def _do_not_cross(_fence: Fence, _server: str, _peers: list[str]) -> None:
    """Take the own server's confirmation for everybody's."""


def _ask_before_interest(maps: Maps, shard: str) -> None:
    """`Maps.watch` in the wrong order."""
    if maps._interests.acquire(shard):
        maps._directory.watch(shard)
        maps._views[map_of(shard)].begin(shard, maps._directory.own(shard)[1])
        maps.send_asks()
        handler = maps._core.receiver(maps._on_change)
        maps._numbers[shard] = maps._core.bus.subscribe(maps._core.subjects.changes(shard), handler)


def _never_miss(_directory: Directory, _peer: str, _numbers: object) -> list[str]:
    return []


def _nothing(*_arguments: object) -> None:
    pass


def _forget_own(roster: Roster, shard: str, _entries: object) -> None:
    """`Roster.begin` without what this node wrote before."""
    roster._shards[shard] = {}


def _nobody(*_arguments: object) -> list[str]:
    return []


def _tell_edges_only(maps: Maps, outcome: Outcome) -> None:
    """`Maps._tell` without what has changed beside the edges."""
    if outcome.edges:
        maps._tell_views(Outcome(outcome.edges))


def _keep_knowing(channels: Channels) -> None:
    channels._held.bus_down()


_confirm = Confirmations.confirm


def _wait_for_every_shard(
    confirmations: Confirmations, interest: Held, _shards: object, done: Callable[[bool], None]
) -> None:
    """`Confirmations.confirm`, of a sign-in that is no sign-in before its whole watchlist is known."""
    _confirm(confirmations, interest, list(confirmations._maps._directory.shards), done)


def _same_as_before(_directory: Directory, _shard: str, _key: str) -> dict[str, int]:
    return {"nobody": 1}


MUTANTS = {
    "no fence": Mutant(Fence, "wait", _pass_at_once, "calm", "never received"),
    "a fence that asks the own server only": Mutant(Fence, "_cross", _do_not_cross, "calm", "never received"),
    "snapshot first, then interest": Mutant(Maps, "watch", _ask_before_interest, "calm", "repaired"),
    "numbers in heartbeats not looked at": Mutant(Directory, "receive_numbers", _never_miss, "loss", "believes"),
    "interests taken for known after a reconnect": Mutant(HeldInterests, "bus_down", _nothing, "move", "never received"),
    "holders not introduced again": Mutant(Holders, "reintroduce", _nothing, "cut", "counts"),
}

ROOM_MUTANTS = {
    "no fence": Mutant(Fence, "wait", _pass_at_once, "calm", "never received"),
    "own members not seen by a view that begins": Mutant(Roster, "begin", _forget_own, "calm", "crashed"),
    "counts that are not summed": Mutant(Directory, "values", _same_as_before, "calm", "believes in"),
    "changes held back that are dropped": Mutant(Maps, "_tell", _tell_edges_only, "calm", "believes in"),
    "nothing handed over before a goodbye": Mutant(Cache, "_receivers", _nobody, "leave", "recalls"),
    "taken to know everything after a reconnect": Mutant(Channels, "bus_down", _keep_knowing, "move", "recalls"),
}

CRASH_MUTANTS = {
    "sign-ins that do not wait for whole watchlists": Mutant(
        Confirmations, "confirm", _wait_for_every_shard, "crash", "who was back"
    ),
}

_LASTING = Habits(nodes=(5, 5), channels=24, publish=0.4, go=1.0, quiet=1.0)  # only keepers have what was published
_STAYING = Habits(nodes=(5, 5), channels=24, publish=0.2, go=0.2, crowd=1000, quiet=0.0)  # every node has been told much

HABITS = {
    "nothing handed over before a goodbye": _LASTING,
    "taken to know everything after a reconnect": _STAYING,
}
"""Of the users of the channels in which a mutant shows itself soon, where the usual ones let it hide."""
