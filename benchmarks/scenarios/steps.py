"""Steps that several scenarios take: each does one thing to the newest connections of the fleet, and says what it cost."""

import math
import time
from collections.abc import Iterator, Sequence

from benchmarks import wire
from benchmarks.figures import Better, Figure
from benchmarks.health import Health
from benchmarks.servers import Node
from benchmarks.stage import Stage
from benchmarks.wire import Address
from benchmarks.workers import Worker

CALLERS = 16
DATA = '{"from":"the backend","text":"something that a person may have written"}'
WARM = 200
"""Connections that a runtime compiles and allocates its fixed parts on, and events for them."""


def warm_up(stage: Stage, address: Address) -> None:
    """A few connections that do everything once, and stay."""
    users = [f"early-{number}" for number in range(stage.scaled(WARM))]
    stage.fleet.connect(address, len(users))
    sign_in_quietly(stage, users)
    stage.fleet.prepare_subscribe([wire.user_channel(user) for user in users])
    stage.fleet.exchange(wire.SUBSCRIBED)
    stage.fleet.prepare_ping()
    stage.fleet.exchange(wire.PONG, 5)


def connect(stage: Stage, line: str, address: Address, count: int) -> Figure:
    """Open connections."""
    with stage.measure(line) as cost:
        stage.fleet.connect(address, count)
    return stage.rate(line, count, cost)


def sign_in(stage: Stage, line: str, users: Sequence[str]) -> Figure:
    """Sign the newest connections in."""
    stage.fleet.prepare_sign_in(users)
    with stage.measure(line) as cost:
        stage.fleet.exchange(wire.SIGNED_IN)
    return stage.rate(line, len(users), cost)


def sign_in_quietly(stage: Stage, users: Sequence[str]) -> None:
    """The same, not measured."""
    stage.fleet.prepare_sign_in(users)
    stage.fleet.exchange(wire.SIGNED_IN)


def subscribe(stage: Stage, line: str, users: Sequence[str]) -> Figure:
    """Subscribe each of the newest connections to its user's own channel."""
    stage.fleet.prepare_subscribe([wire.user_channel(user) for user in users])
    with stage.measure(line) as cost:
        stage.fleet.exchange(wire.SUBSCRIBED)
    return stage.rate(line, len(users), cost)


def subscribe_all(stage: Stage, line: str, channel: str, count: int) -> Figure:
    """Subscribe each of the newest connections to one channel that all share."""
    stage.fleet.prepare_subscribe([channel] * count)
    with stage.measure(line) as cost:
        stage.fleet.exchange(wire.SUBSCRIBED)
    return stage.rate(line, count, cost)


def ping(stage: Stage, line: str, messages: int) -> Figure:
    """All connections ping until about that many messages were answered."""
    rounds = max(1, messages // stage.fleet.size)
    stage.fleet.prepare_ping()
    with stage.measure(line) as cost:
        stage.fleet.exchange(wire.PONG, rounds)
    return stage.rate(line, rounds * stage.fleet.size, cost)


def send_to_users(stage: Stage, line: str, node: Node, users: Sequence[str], events: int) -> Figure:
    """Callers of a node's HTTP API send events to users in turn, who have one connection each."""
    callers = stage.callers()
    _send(stage, callers, node, users[:WARM])
    targets = [users[number % len(users)] for number in range(events)]
    callers.call("prepare_events", node.address, [wire.user_channel(user) for user in targets], DATA)
    with stage.measure(line) as cost:
        stage.fleet.begin_receive(targets)
        callers.call("run", CALLERS)
        stage.fleet.finish_receive()
    return stage.rate(line, events, cost)


def _send(stage: Stage, callers: Worker, node: Node, users: Sequence[str]) -> None:
    callers.call("prepare_events", node.address, [wire.user_channel(user) for user in users], DATA)
    stage.fleet.begin_receive(users)
    callers.call("run", CALLERS)
    stage.fleet.finish_receive()


def memory(stage: Stage, line: str, before: int, count: int) -> Figure:
    """What each of `count` connections, opened since the nodes held `before` bytes, takes of them."""
    each = (stage.memory() - before) / count / 1024
    return Figure(line, each, "KiB", Better.LOWER, {"before": before, "connections": count})


def idle(stage: Stage, line: str, seconds: float) -> Figure:
    """The share of a core that the nodes take while nothing happens; not a number where it is not seen."""
    with stage.measure(line) as cost:
        time.sleep(seconds)
    share = 100 * cost.cpu / cost.wall if cost.nodes else math.nan
    return Figure(line, share, "% of a core", Better.LOWER, {"cpu": cost.cpu, "wall": cost.wall})


def health(found: Health, at: str) -> Iterator[Figure]:
    """Whether nodes answered in time while something else went on, if they could be asked."""
    if not found.nodes:
        return
    yield Figure("loop lag, p99, below" + at, 1000 * found.lag_quantile(0.99), "ms", Better.LOWER)
    yield Figure("loop lag, longest, below" + at, 1000 * found.lag_quantile(1.0), "ms", Better.LOWER)
    detail = {"asked": found.asked, "unanswered": found.unanswered}
    yield Figure("/livez, slowest answer" + at, 1000 * found.slowest, "ms", Better.LOWER, detail)
    yield Figure("/livez, unanswered" + at, found.unanswered, "of all", Better.LOWER, detail)
