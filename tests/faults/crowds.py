"""What scenarios share: a crowd that watches itself, and the times that watchers took to hear."""

from collections.abc import Iterable, Iterator, Sequence

import trio

from tests.api_client import ApiClient
from tests.faults.people import Person
from tests.faults.stage import Stage
from tests.integration.support import APP

_AT_ONCE = 50  # connections between two breaths, so that nobody's accept queue is the bottleneck


async def assemble(stage: Stage, nursery: trio.Nursery, users: int, watched: int = 5) -> list[Person]:
    """So many users on all nodes, each watching `watched` random others; returns when all see the truth."""
    names = [f"user{number}" for number in range(users)]
    people = []
    for number, name in enumerate(names):
        others = stage.random.sample(names, min(users, watched + 1))
        people.append(stage.crowd.add(nursery, name, [other for other in others if other != name][:watched]))
        if number % _AT_ONCE == _AT_ONCE - 1:
            await trio.sleep(0.05)
    stage.figures["seconds until all had signed in"] = f"{await stage.settled(60 + users / 20):.1f}"
    return people


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed; nan without any."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def offline_times(stage: Stage, gone: Iterable[Person], since: float) -> list[float]:
    """How long after `since` each watcher's connection heard that each of these was offline, if it did."""
    return [at - since for at, _ in _offline_edges(stage, gone, since)]


def told_offline(stage: Stage, people: Iterable[Person], since: float) -> set[str]:
    """Which of these any watcher heard to be offline."""
    return {user for _, user in _offline_edges(stage, people, since)}


def _offline_edges(stage: Stage, people: Iterable[Person], since: float) -> Iterator[tuple[float, str]]:
    """Every offline edge since then that any watcher heard about these."""
    names = {person.ledger.user for person in people}
    for ledger in stage.crowd.ledgers:
        for stay in ledger.stays:
            for heard in stay.heard[1:]:
                if heard.at >= since:
                    yield from ((heard.at, user) for user in heard.offline if user in names)


def told_times(times: Sequence[float]) -> str:
    """In words."""
    if not times:
        return "nobody was told"
    middle, nearly, worst = (percentile(times, share) for share in (0.5, 0.99, 1.0))
    return f"{len(times)} told, p50 {middle:.2f} s, p99 {nearly:.2f} s, max {worst:.2f} s"


async def counts_agree(stage: Stage, sample: int = 20, within: float = 5.0) -> None:
    """Every node tells for some users how many connections they have; a failure is noted if one is wrong for long."""
    here = [person.ledger.user for person in stage.crowd.here]
    users = stage.random.sample(here, min(sample, len(here)))
    expected = {user: here.count(user) for user in users}
    for node in stage.nodes:
        api = ApiClient(APP, node.port)
        told: dict[str, int] = {}
        with trio.move_on_after(within):
            while (told := {user: await api.connections(user) for user in users}) != expected:
                await trio.sleep(0.1)
        wrong = {user: (count, expected[user]) for user, count in told.items() if count != expected[user]}
        stage.expect(not wrong, f"{node.name} counts {wrong} (told, true)")
        await api.aclose()
