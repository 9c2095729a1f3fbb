"""The oracle sees what it is there to see: each kind of violation, in ledgers written by hand, and none in good ones."""

from collections.abc import Sequence
from math import inf

import pytest

from tests.faults.ledger import Excuse, Heard, Ledger, Published, Received, Stay
from tests.faults.oracle import Bounds, Case, judge, merge, subtract
from tests.faults.scenarios.terminating import Termination, find_survivors

EARLY, LATE = 1.0, 100.0


def there(user: str, *spans: tuple[float, float], node: int = 0) -> Ledger:
    """Signed in for these spans."""
    return Ledger(user, (), [Stay(node, start, start, end) for start, end in spans])


def watcher(*heard: Heard, node: int = 1) -> Ledger:
    """Watches ann, and was told this on one connection."""
    return Ledger("bea", ("ann",), [Stay(node, EARLY, EARLY, inf, heard=list(heard))])


def kinds(*ledgers: Ledger, events: Sequence[Published] = (), excuses: Sequence[Excuse] = (), **bounds: float) -> list[str]:
    """What the oracle finds."""
    return [found.kind for found in judge(Case(ledgers, events, excuses, Bounds(LATE, **bounds)))]


def online(at: float) -> Heard:
    """Ann is online."""
    return Heard(at, (), ("ann",))


def offline(at: float) -> Heard:
    """Ann is offline."""
    return Heard(at, ("ann",), ())


@pytest.mark.parametrize(
    ("ann", "told"),
    [
        pytest.param([(0, inf)], [online(1)], id="always there"),
        pytest.param([], [offline(1)], id="never there"),
        pytest.param([(0, 50)], [online(1), offline(52.9)], id="went"),
        pytest.param([(50, inf)], [offline(1), online(52.9)], id="came"),
        pytest.param([(0, 50), (50.5, inf)], [online(1)], id="moved unseen"),
        pytest.param([(0, 50), (52, inf)], [online(1), offline(51.5), online(52.5)], id="went and came back"),
        pytest.param([(0.5, inf)], [offline(1), online(1.2)], id="came just before the first frame"),
    ],
)
def test_oracle_finds_nothing_when_watchers_were_told_the_truth_in_time(
    ann: list[tuple[float, float]], told: list[Heard]
) -> None:
    """Late by less than the bound is in time."""
    assert kinds(there("ann", *ann), watcher(*told)) == []


@pytest.mark.parametrize(
    ("ann", "told", "found"),
    [
        pytest.param([(0, 50)], [online(1)], ["ghost"], id="nobody said that she went"),
        pytest.param([(0, 50)], [online(1), offline(53.1)], ["ghost"], id="late"),
        pytest.param([], [online(1)], ["ghost"], id="she never was there"),
        pytest.param([(0, inf)], [offline(1)], ["missed", "flap"], id="nobody said that she is there"),
        pytest.param([(50, inf)], [offline(1), online(53.1)], ["missed"], id="late to come"),
        pytest.param([(0, inf)], [online(1), offline(50), online(50.1)], ["flap", "missed"], id="away for nobody but him"),
        pytest.param([(0, 50), (50.5, inf)], [online(1), offline(50.4), online(50.6)], ["flap"], id="moved, and seen"),
        pytest.param([(0, inf)], [online(1), online(50)], ["repeated"], id="told twice"),
        pytest.param([(0, inf)], [Heard(1, (), ())], ["repeated"], id="not named in the first frame"),
    ],
)
def test_oracle_finds_what_watchers_should_not_have_been_told(
    ann: list[tuple[float, float]], told: list[Heard], found: list[str]
) -> None:
    """Each kind by its name."""
    assert sorted(kinds(there("ann", *ann), watcher(*told))) == sorted(found)


def test_oracle_excuses_what_the_promises_make_room_for() -> None:
    """A paused node's users may seem offline, and a cut-off watcher may not hear; for as long, and no longer."""
    told = watcher(online(1), offline(42), online(49))
    assert kinds(there("ann", (0, inf)), told) == ["flap", "missed"]
    assert kinds(there("ann", (0, inf)), told, excuses=[Excuse(0, 40, 50, "paused")]) == []
    assert kinds(there("ann", (0, inf)), told, excuses=[Excuse(1, 40, 50, "cut off")]) == []
    assert kinds(there("ann", (0, inf)), told, excuses=[Excuse(-1, 40, 50, "all of them")]) == []
    assert kinds(there("ann", (0, inf)), told, excuses=[Excuse(2, 40, 50, "another")]) == ["flap", "missed"]
    assert kinds(there("ann", (0, inf)), told, excuses=[Excuse(0, 40, 45, "too short")]) == ["missed"]


def published(status: int = 200, sent_at: float = 50) -> Published:
    """One event for ann, through node 2."""
    return Published(7, "ann", 2, sent_at, sent_at + 0.1, status)


def receiving(*times: float, **stay: float) -> Ledger:
    """Ann, who received event 7 then."""
    (ledger,) = [there("ann", (stay.get("start", 0), stay.get("end", inf)))]
    ledger.stays[0].received.extend(Received(at, 7) for at in times)
    return ledger


def test_oracle_wants_each_event_once_on_each_connection() -> None:
    """If it was answered with 200, and the connection was there before and after; never twice."""
    assert kinds(receiving(50.2), events=[published()]) == []
    assert kinds(receiving(), events=[published()]) == ["lost"]
    assert kinds(receiving(), events=[published(503)]) == []
    assert kinds(receiving(50.2), events=[published(0)]) == []
    assert kinds(receiving(50.2, 50.3), events=[published(503)]) == ["twice", "twice"]
    assert kinds(receiving(end=50.5), events=[published()]) == []
    assert kinds(receiving(start=50.05), events=[published()]) == []
    assert kinds(receiving(), events=[published()], excuses=[Excuse(-1, 49, 50.05, "killed")]) == []
    assert kinds(receiving(), events=[published()], excuses=[Excuse(-1, 49, 51, "seen", events=False)]) == ["lost"]


def test_survivors_are_those_who_were_signed_in_before_and_are_there_after() -> None:
    """Who signed in after the call, or was closed soon after the answer, is none."""
    done = [Termination("ann", 50, 50.1)]
    assert find_survivors([there("ann", (0, 50.05), (50.05, inf)), there("bea", (0, inf))], done) == []
    assert len(find_survivors([there("ann", (0, 50.05)), there("ann", (0, 60))], done)) == 1


def test_spans_are_merged_and_subtracted() -> None:
    """The arithmetic that the truth rests on."""
    assert merge([(5, 6), (1, 2), (2, 3), (3.5, 4)], 0.5) == [(1, 4), (5, 6)]
    assert subtract([(1, 4), (5, 6)], [(2, 3), (3.5, 5.5), (9, 10)]) == [(1, 2), (3, 3.5), (5.5, 6)]
