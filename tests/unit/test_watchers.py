"""What watching connections are told, and when (protocol.md 4)."""

from collections.abc import Iterable, Sequence

import pytest
import trio
from trio.testing import MockClock

from cluster import UserEdge
from node.config.apps import App
from node.connection import Connection, Phase
from node.metrics import Metrics
from node.watchers import Watchers
from tests.unit.support import APP, OTHER_APP, FakeTransport, describe


class Watcher:
    """A watching connection and what it is told."""

    def __init__(self, watchers: Watchers, watchlist: Sequence[str], online: Iterable[str] = (), app: App = APP) -> None:
        self.transport = FakeTransport()
        self.connection = Connection(app, "1.2", self.transport, 0.0)
        self.watchlist = watchlist
        self.watchers = watchers
        self.first = watchers.add(self.connection, watchlist, set(online).__contains__)

    def remove(self) -> None:
        """Watch no more."""
        self.watchers.remove(self.connection, self.watchlist)

    def read(self) -> list[str]:
        """What was told since the last reading, without the first frame."""
        frames, self.transport.frames = self.transport.frames, []
        return list(map(describe, frames))


def edges(*changes: str, app: App = APP, age: float = 0.0) -> list[UserEdge]:
    """Changes such as "+ann" and "-bea"."""
    return [UserEdge(app.id, change[1:], change[0] == "+", age) for change in changes]


@pytest.fixture
def metrics() -> Metrics:
    """Where they count."""
    return Metrics()


@pytest.fixture
def watchers(metrics: Metrics, nursery: trio.Nursery) -> Watchers:
    """Running watchers, with the usual interval."""
    made = Watchers(metrics, 0.02)
    nursery.start_soon(made.run)
    return made


def note(watchers: Watchers, *changes: str, app: App = APP) -> None:
    """These changes happen now."""
    watchers.note(edges(*changes, app=app), trio.current_time())


@pytest.mark.parametrize(
    ("watchlist", "online", "expected"),
    [
        (["2", "3"], [], "offline 2 3"),
        (["1", "3"], ["1"], "offline 3, online 1"),
        (["2", "1"], ["1", "2"], "online 2 1"),
        (["e", "a", "d", "b", "c"], ["d", "e", "z"], "offline a b c, online e d"),
    ],
)
def test_watcher_is_told_the_state_of_its_whole_list_first(watchlist: list[str], online: list[str], expected: str) -> None:
    """Offline before online, each in list order, empty elements left out."""
    assert describe(Watcher(Watchers(Metrics(), 0.02), watchlist, online).first) == expected


async def test_watcher_is_told_changes_together_after_20_milliseconds(watchers: Watchers, autojump_clock: MockClock) -> None:
    """One frame for what happened in between, and not earlier."""
    watcher = Watcher(watchers, ["ann", "bea", "cid"], ["cid"])
    note(watchers, "+ann")
    await trio.sleep(0.015)
    note(watchers, "-cid")
    note(watchers, "+bea")
    assert watcher.read() == []
    await trio.sleep(0.006)
    assert watcher.read() == ["offline cid, online ann bea"]
    await trio.sleep(10)
    assert watcher.read() == []


async def test_watcher_is_told_each_change_when_they_are_apart(watchers: Watchers, autojump_clock: MockClock) -> None:
    """They alternate."""
    watcher = Watcher(watchers, ["ann"])
    for change in ("+ann", "-ann", "+ann"):
        note(watchers, change)
        await trio.sleep(0.03)
    assert watcher.read() == ["online ann", "offline ann", "online ann"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["-ann", "+ann"], []),
        (["+bea", "-bea"], []),
        (["-ann", "+ann", "-ann"], ["offline ann"]),
        (["-ann", "+bea", "+ann"], ["online bea"]),
        (["+bea", "-bea", "+bea", "-ann"], ["offline ann, online bea"]),
    ],
)
async def test_watcher_is_not_told_changes_that_cancel_out(
    watchers: Watchers, autojump_clock: MockClock, changes: list[str], expected: list[str]
) -> None:
    """What is told ends in the truth all the same."""
    watcher = Watcher(watchers, ["ann", "bea"], ["ann"])
    note(watchers, *changes)
    await trio.sleep(0.05)
    assert watcher.read() == expected


async def test_watcher_is_told_only_of_its_list_and_its_app(watchers: Watchers, autojump_clock: MockClock) -> None:
    """Ids of another app are other users."""
    watcher, stranger = Watcher(watchers, ["ann"]), Watcher(watchers, ["ann"], app=OTHER_APP)
    note(watchers, "+bea", "+ann")
    await trio.sleep(0.05)
    assert (watcher.read(), stranger.read()) == (["online ann"], [])
    note(watchers, "+ann", app=OTHER_APP)
    await trio.sleep(0.05)
    assert (watcher.read(), stranger.read()) == ([], ["online ann"])


async def test_watchers_share_one_frame_when_they_are_told_the_same(
    watchers: Watchers, metrics: Metrics, autojump_clock: MockClock
) -> None:
    """Encoded once, counted for each."""
    same = [Watcher(watchers, ["ann", f"u{number}"]) for number in range(5)]
    other = Watcher(watchers, ["ann", "bea"])
    note(watchers, "+ann", "+bea")
    counted = metrics.registry.get_sample_value("usher_watchlist_events_total", {"name": "online"}) or 0
    await trio.sleep(0.05)
    assert len({id(watcher.transport.frames[0]) for watcher in same}) == 1
    assert [watcher.read() for watcher in same] == [["online ann"]] * 5
    assert other.read() == ["online ann bea"]
    assert metrics.registry.get_sample_value("usher_watchlist_events_total", {"name": "online"}) == counted + 6


async def test_watcher_is_told_nothing_more_when_it_is_removed(watchers: Watchers, autojump_clock: MockClock) -> None:
    """Not even what was noted before."""
    watcher, other = Watcher(watchers, ["ann"]), Watcher(watchers, ["ann"])
    note(watchers, "+ann")
    watcher.remove()
    note(watchers, "-ann", "+ann")
    await trio.sleep(0.05)
    assert (watcher.read(), other.read()) == ([], ["online ann"])


async def test_watcher_is_told_nothing_more_when_it_is_closed(watchers: Watchers, autojump_clock: MockClock) -> None:
    """A frame after the end would only cost."""
    watcher = Watcher(watchers, ["ann"])
    note(watchers, "+ann")
    watcher.connection.phase = Phase.CLOSED
    await trio.sleep(0.05)
    assert watcher.read() == []


async def test_watcher_is_not_told_twice_what_its_new_first_frame_tells(
    watchers: Watchers, autojump_clock: MockClock
) -> None:
    """With another list, changes noted for the old one are forgotten; later ones are not."""
    watcher = Watcher(watchers, ["ann", "bea"])
    note(watchers, "+ann", "+bea")
    watcher.remove()
    watcher.watchlist = ["bea", "cid"]
    assert watchers.add(watcher.connection, watcher.watchlist, {"ann", "bea"}.__contains__)
    note(watchers, "+cid", "-ann")
    await trio.sleep(0.05)
    assert watcher.read() == ["online cid"]
    note(watchers, "-bea")
    await trio.sleep(0.05)
    assert watcher.read() == ["offline bea"]


async def test_watcher_hears_what_happens_while_others_are_told(watchers: Watchers, autojump_clock: MockClock) -> None:
    """A crowd is told in slices; a change in between is told next, to everyone once."""
    crowd = [Watcher(watchers, ["ann"]) for _ in range(1000)]
    note(watchers, "+ann")
    await trio.sleep(0.02)
    for _ in range(100):
        if any(watcher.transport.frames for watcher in crowd):
            break
        await trio.lowlevel.checkpoint()
    early = [watcher for watcher in crowd if watcher.transport.frames]
    assert 0 < len(early) < len(crowd), "the crowd is told at once"
    note(watchers, "-ann")
    await trio.sleep(0.1)
    assert [watcher.read() for watcher in crowd] == [["online ann", "offline ann"]] * len(crowd)
    assert not watchers._noted


async def test_watcher_is_not_told_again_what_its_first_frame_told(watchers: Watchers, autojump_clock: MockClock) -> None:
    """It begins to watch when an edge waits to be told; only what comes after that is news to it."""
    before = Watcher(watchers, ["ann"])
    note(watchers, "+ann")
    after = Watcher(watchers, ["ann"], ["ann"])
    await trio.sleep(0.05)
    assert before.read() == ["online ann"]
    assert after.read() == []
    note(watchers, "-ann")
    await trio.sleep(0.05)
    assert before.read() == after.read() == ["offline ann"]


async def test_watchers_count_edges_and_hold_nothing_when_all_have_gone(
    watchers: Watchers, metrics: Metrics, autojump_clock: MockClock
) -> None:
    """One for each pair of watcher and watched."""
    crowd = [Watcher(watchers, ["ann", "bea"]), Watcher(watchers, ["ann"])]

    def counted() -> float | None:
        return metrics.registry.get_sample_value("usher_watch_edges", {"app": APP.id})

    assert counted() == 3
    note(watchers, "+ann")
    for watcher in crowd:
        watcher.remove()
    await trio.sleep(0.05)
    assert counted() == 0
    assert (len(watchers._watchers), len(watchers._noted)) == (0, 0)


async def test_watchers_measure_how_late_an_offline_is_told_and_count_flaps(
    watchers: Watchers, metrics: Metrics, autojump_clock: MockClock
) -> None:
    """From the cause to the frame; a flap is online within five seconds of offline, for users watched here."""
    Watcher(watchers, ["ann", "bea"], ["ann", "bea"])
    watchers.note(edges("-ann", "-nobody", age=1.0), trio.current_time())
    await trio.sleep(4.9)
    note(watchers, "+ann", "-bea")
    await trio.sleep(5.1)
    note(watchers, "+bea")
    await trio.sleep(1)

    def value(name: str) -> float:
        return metrics.registry.get_sample_value(f"usher_{name}") or 0.0

    assert value("offline_seconds_count") == 2
    assert value("offline_seconds_sum") == pytest.approx(1.04, abs=0.001)
    assert value("presence_flaps_total") == 1
