"""Terminations raced against sign-ins, reconnects and dying nodes: nobody who was signed in before survives one."""

from collections import defaultdict
from dataclasses import dataclass
from math import inf

import trio

from tests.api_client import ApiClient
from tests.faults.ledger import Ledger
from tests.faults.people import Person
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.integration.support import APP

TABS = 3  # connections of each user, each coming back soon after it was closed
TERMINATED = 4200  # the default of an app's terminate_code
SURVIVES = 1.0  # seconds after the answer
_BETWEEN = 0.25
_DEATHS = 4.0
_PATIENCE = 10.0


class Restless(Person):
    """Comes back whatever the code, and soon."""

    def wait_before_retry(self, code: int | None) -> float | None:  # noqa: ARG002 - whatever it was
        """Soon, and never after the same time."""
        return (self._opened * 7919 % 100) / 1000


@dataclass(frozen=True, slots=True)
class Termination:
    """One that was answered with 200."""

    user: str
    called_at: float
    answered_at: float


def terminating(users: int, races: int) -> Scenario:
    """So many terminations, of that many users at the same time."""

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        names = [f"user{number}" for number in range(users)]
        for name in names:
            for _ in range(TABS):
                stage.crowd.add(nursery, name, kind=Restless)
        done: list[Termination] = []
        async with trio.open_nursery() as deaths:
            deaths.start_soon(_let_nodes_die, stage)
            async with trio.open_nursery() as racers:
                for name in names:
                    racers.start_soon(_race, stage, name, races // users, done)
            deaths.cancel_scope.cancel()
        await trio.sleep(2 * SURVIVES)
        survivors = find_survivors(stage.crowd.ledgers, done)
        stage.expect(not survivors, f"nobody survives: {survivors[:5]}")
        seconds = sorted(each.answered_at - each.called_at for each in done)
        stage.figures["terminations, p50, p99 in ms"] = (
            f"{len(done)}, {1000 * seconds[len(seconds) // 2]:.1f}, {1000 * seconds[int(0.99 * len(seconds))]:.1f}"
        )
        closed = sum(stay.code == TERMINATED for ledger in stage.crowd.ledgers for stay in ledger.stays)
        stage.figures["connections, closed by a termination"] = f"{len(stage.crowd.ledgers)}, {closed}"
        stage.expect(closed > len(done), "terminations close connections")

    return Scenario("terminating", play, users, {"offline": inf, "online": inf})


async def _race(stage: Stage, user: str, races: int, done: list[Termination]) -> None:
    """One user is terminated again and again, whenever it happens to be."""
    apis = [ApiClient(APP, node.port) for node in stage.nodes]
    for _ in range(races):
        await trio.sleep(stage.random.uniform(0, _BETWEEN))
        called_at = trio.current_time()
        while not await _terminate(stage.random.choice(apis), user):
            if trio.current_time() - called_at > _PATIENCE:
                stage.expect(False, f"{user} cannot be terminated within {_PATIENCE} s")
                break
        else:
            done.append(Termination(user, called_at, trio.current_time()))
    for api in apis:
        await api.aclose()


async def _terminate(api: ApiClient, user: str) -> bool:
    """Whether it was answered with 200; if not, a backend asks again."""
    try:
        with trio.fail_after(_PATIENCE):
            response = await api.ask("POST", f"/users/{user}/terminate_connections", {})
    except (OSError, trio.BrokenResourceError, trio.TooSlowError, AssertionError):
        await trio.sleep(0.05)
        return False
    return response.status == 200


async def _let_nodes_die(stage: Stage) -> None:
    while True:
        await trio.sleep(_DEATHS)
        node = stage.random.choice(stage.nodes)
        with trio.CancelScope(shield=True):
            stage.kill(node)
            await trio.sleep(stage.random.uniform(0, 1))
            await stage.begin(node)


def find_survivors(ledgers: list[Ledger], done: list[Termination]) -> list[str]:
    """Connections that were signed in before a call, and there long after its answer."""
    stays = defaultdict(list)
    for ledger in ledgers:
        stays[ledger.user].extend(ledger.stays)
    return [
        f"{each.user} on node {stay.node}: signed in {each.called_at - stay.signed_in_at:.3f} s before, "
        f"there {stay.ended_at - each.answered_at:.3f} s after"
        for each in done
        for stay in stays[each.user]
        if stay.signed_in_at < each.called_at and stay.ended_at > each.answered_at + SURVIVES
    ]
