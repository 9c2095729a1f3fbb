"""Compares every ledger with the truth. Pure: what is there comes in, what was violated comes out.

The truth about a user is what the clients know: signed in from `signin_success` to the end of the connection, whichever
way that came. A watcher may believe otherwise for `Bounds.offline` or `Bounds.online` seconds after a change, and
for as long as an excuse holds for its own node or for the user's.

- `repeated`: a watcher was told what it knew already, or its first frame did not name everybody
- `ghost`: a watcher believed that somebody was online who had been away for longer than the bound
- `missed`: a watcher believed that somebody was offline who had been there for longer than the bound
- `flap`: a watcher was told that somebody went offline who was away for less than `Bounds.gap`
- `twice`: one connection got one event more than once
- `lost`: an event that was answered with 200 did not reach a connection that was there before and after
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from tests.faults.ledger import Excuse, Ledger, Published, Stay, Violation

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bounds:
    """In seconds. `until` is when the run ended: what is open then ends there.

    `fresh`: who has been there for less than this may be told offline still. `delivery`: for how long after the answer a
    connection has to stay so that an event must have reached it.
    """

    until: float
    offline: float = 3.0
    online: float = 3.0
    gap: float = 0.8
    fresh: float = 0.0
    delivery: float = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One run, as it is judged."""

    ledgers: Sequence[Ledger]
    published: Sequence[Published]
    excuses: Sequence[Excuse]
    bounds: Bounds


def judge(case: Case) -> list[Violation]:
    """Everything that was violated, in order of time."""
    found = [*_judge_views(case), *_judge_events(case)]
    return sorted(found, key=lambda violation: violation.at)


# -- spans of time ----------------------------------------------------------------------------------------------------


def merge(spans: Iterable[Span], gap: float = 0.0) -> list[Span]:
    """The union, in order; holes shorter than `gap` are filled."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def subtract(spans: Iterable[Span], holes: Sequence[Span]) -> list[Span]:
    """What is left of the spans outside the holes."""
    left = list(spans)
    for low, high in holes:
        pieces = (piece for start, end in left for piece in ((start, min(end, low)), (max(start, high), end)))
        left = [(start, end) for start, end in pieces if start < end]
    return left


def covers(spans: Sequence[Span], at: float, since: float = inf) -> bool:
    """Whether one of the spans, which are merged, holds this time, and began no later than `since`."""
    place = bisect_right(spans, (at, inf))
    return place > 0 and spans[place - 1][0] <= min(at, since) and at <= spans[place - 1][1]


# -- presence ---------------------------------------------------------------------------------------------------------


class _Truth:
    """Where every user was, and what is excused."""

    def __init__(self, case: Case) -> None:
        self.bounds = case.bounds
        self._excused: dict[int, list[Span]] = defaultdict(list)
        for excuse in case.excuses:
            if excuse.presence:
                self._excused[excuse.node].append((excuse.start, excuse.end))
        stays: dict[str, list[Stay]] = defaultdict(list)
        for ledger in case.ledgers:
            stays[ledger.user].extend(ledger.stays)
        self.online = {user: list(self._surely_there(theirs)) for user, theirs in stays.items()}
        self.offline = {user: list(self._surely_away(theirs)) for user, theirs in stays.items()}
        self.unbroken = {user: merge(self._there(theirs), self.bounds.gap) for user, theirs in stays.items()}

    def excused(self, node: int) -> list[Span]:
        """When nothing is asked of a node."""
        return self._excused[node] + self._excused[-1]

    def _there(self, stays: Iterable[Stay]) -> Iterator[Span]:
        """Signed in on a node that is well."""
        for stay in stays:
            yield from subtract([_signed_in(stay)], self.excused(stay.node))

    def _surely_there(self, stays: Iterable[Stay]) -> Iterator[Span]:
        """From the bound after a sign-in on, as long as the node is well."""
        for start, end in merge(self._there(stays)):
            if end - start > self.bounds.online:
                yield start + self.bounds.online, end

    def _surely_away(self, stays: Sequence[Stay]) -> Iterator[Span]:
        """From the bound after the last end on. A connection that is signing in counts as there."""
        there = merge((stay.established_at, stay.ended_at) for stay in stays)
        excused = [(s, e) for stay in stays for s, e in self.excused(stay.node) if stay.established_at < e]
        for start, end in subtract([(0.0, self.bounds.until)], [*there, *excused]):
            if end - start > self.bounds.offline:
                yield start + self.bounds.offline, end


def _signed_in(stay: Stay) -> Span:
    return (stay.signed_in_at, max(stay.signed_in_at, stay.ended_at))


def _judge_views(case: Case) -> Iterator[Violation]:
    truth = _Truth(case)
    for ledger in case.ledgers:
        for stay in ledger.stays:
            if stay.heard:
                yield from _judge_watcher(ledger, stay, truth, case.bounds.until)


def _judge_watcher(ledger: Ledger, stay: Stay, truth: _Truth, until: float) -> Iterator[Violation]:
    """One connection's view of everybody that it watches."""
    who = f"{ledger.user} on node {stay.node}"
    first = stay.heard[0]
    if Counter((*first.offline, *first.online)) != Counter(ledger.watchlist):
        yield Violation("repeated", first.at, f"{who}: the first frame did not name everybody once")
    told: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for heard in stay.heard:
        for user in heard.offline:
            told[user].append((heard.at, False))
        for user in heard.online:
            told[user].append((heard.at, True))
    well = subtract([(first.at, min(stay.ended_at, until))], truth.excused(stay.node))
    for user, changes in told.items():
        yield from _judge_changes(who, user, changes, well, truth)
        yield from _judge_belief(who, user, changes, well, truth)


def _judge_changes(
    who: str, user: str, changes: Sequence[tuple[float, bool]], well: Sequence[Span], truth: _Truth
) -> Iterator[Violation]:
    for (_, before), (at, after) in pairwise(changes):
        if before == after:
            yield Violation("repeated", at, f"{who}: was told twice that {user} is {_word(after)}")
    for place, (at, online) in enumerate(changes):
        fresh = max(truth.bounds.fresh, 0 if place else truth.bounds.delivery)  # a first frame knows less than an edge
        there = covers(truth.unbroken.get(user, []), at, since=at - fresh)
        if there and not online and covers(well, at):
            yield Violation("flap", at, f"{who}: was told that {user} is offline, who was away for a moment at the most")


def _judge_belief(
    who: str, user: str, changes: Sequence[tuple[float, bool]], well: Sequence[Span], truth: _Truth
) -> Iterator[Violation]:
    """What was believed for longer than the bounds allow."""
    ends = [at for at, _ in changes[1:]] + [inf]
    for (start, online), end in zip(changes, ends, strict=True):
        contrary = truth.offline.get(user, [(0.0, inf)]) if online else truth.online.get(user, [])
        for low, high in contrary:
            for well_low, well_high in well:
                from_, to = max(start, low, well_low), min(end, high, well_high)
                if from_ < to:
                    kind = "ghost" if online else "missed"
                    yield Violation(kind, from_, f"{who}: believed for {to - from_:.1f} s that {user} is {_word(online)}")


def _word(online: bool) -> str:
    return "online" if online else "offline"


# -- events -----------------------------------------------------------------------------------------------------------


def _judge_events(case: Case) -> Iterator[Violation]:
    stays: dict[str, list[Stay]] = defaultdict(list)
    for ledger in case.ledgers:
        stays[ledger.user].extend(ledger.stays)
        for stay in ledger.stays:
            yield from _judge_repeats(ledger.user, stay)
    numbers = {id(stay): {received.number for received in stay.received} for theirs in stays.values() for stay in theirs}
    for event in case.published:
        if event.status != 200:
            continue
        for stay in stays[event.user]:
            if event.number not in numbers[id(stay)] and _must_arrive(event, stay, case):
                text = f"event {event.number} through node {event.node} to {event.user} on node {stay.node}"
                yield Violation("lost", event.sent_at, text)


def _judge_repeats(user: str, stay: Stay) -> Iterator[Violation]:
    counts = Counter(received.number for received in stay.received)
    if len(counts) < len(stay.received):
        for received in stay.received:
            if counts[received.number] > 1:
                yield Violation("twice", received.at, f"event {received.number} to {user} on node {stay.node}")


def _must_arrive(event: Published, stay: Stay, case: Case) -> bool:
    """Signed in before it was sent, there for a while after the answer, and nothing excused meanwhile."""
    latest = event.answered_at + case.bounds.delivery
    if stay.signed_in_at > event.sent_at or min(stay.ended_at, case.bounds.until) < latest:
        return False
    return not any(
        excuse.events and excuse.node in (event.node, stay.node, -1) and excuse.start < latest and event.sent_at < excuse.end
        for excuse in case.excuses
    )


def summary(violations: Sequence[Violation]) -> Mapping[str, int]:
    """How many of each kind."""
    return Counter(violation.kind for violation in violations)
