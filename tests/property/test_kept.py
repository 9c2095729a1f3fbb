"""Kept events: merging them is a matter of stamps only; and what they take is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.kept import Kept, KeptEvents, Key

_keys = st.tuples(st.just("app"), st.sampled_from(["a", "b", "c"]))
_puts = st.lists(st.tuples(_keys, st.integers(0, 5), st.sampled_from(["n0", "n1"])), max_size=20)
_PLENTY = 1 << 20


def _event(stamp: int, node: str, until: float = 100.0, size: int = 3) -> Kept:
    return Kept((stamp, node), b"%b %d".ljust(size) % (node.encode(), stamp), until)


def _merged(puts: list[tuple[Key, int, str]]) -> dict[Key, Kept | None]:
    events = KeptEvents(_PLENTY)
    for key, stamp, node in puts:
        events.put(key, _event(stamp, node), 0.0)
    return {key: events.get(key, 0.0) for key in events.keys}


@given(_puts, st.randoms())
def test_events_may_come_in_any_order_and_often(puts: list[tuple[Key, int, str]], random: object) -> None:
    """The newest of each channel stays."""
    again = puts + puts[::2]
    random.shuffle(again)  # type: ignore[attr-defined]
    newest = {key: max((stamp, node) for other, stamp, node in puts if other == key) for key, _, _ in puts}
    assert _merged(puts) == _merged(again) == {key: _event(*stamp) for key, stamp in newest.items()}


@given(
    st.lists(st.tuples(_keys, st.integers(0, 9), st.integers(1, 2000), st.integers(1, 9), st.integers(0, 2)), max_size=30)
)
def test_events_expire_and_take_no_more_than_they_may(steps: list[tuple[Key, int, int, int, int]]) -> None:
    """What is got lives; what is over the bound is gone, and the bytes add up."""
    events, now = KeptEvents(3000), 0.0
    for key, stamp, size, life, passed in steps:
        now += passed
        events.put(key, _event(stamp, "n", now + life, size), now)
        assert events._bytes == sum(len(kept.frame) + 500 for kept in events._events.values()) <= 3000
        for other in list(events.keys):
            kept = events.get(other, now)
            assert kept is None or kept.until > now
        events.expire(now)
    events.expire(now + 10)
    assert len(events) == 0 == events._bytes


def test_an_event_that_is_larger_than_all_that_may_be_kept_is_not() -> None:
    """Nor does it stay in anybody's way."""
    events = KeptEvents(1000)
    events.put(("app", "a"), _event(1, "n", size=5000), 0.0)
    events.put(("app", "b"), _event(1, "n"), 0.0)
    assert list(events.keys) == [("app", "b")]
