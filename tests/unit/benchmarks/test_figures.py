"""Medians, ratios, goals and percentiles of what was measured."""

import pytest

from benchmarks.figures import Better, Figure, Row, percentile, rows_of


def _row(line: str, better: Better = Better.HIGHER, **values: tuple[float, ...]) -> Row:
    return Row(line, "unit", better, values)


def test_rows_gather_runs_when_servers_are_interleaved() -> None:
    """In the order of lines and of runs."""
    first, second = Figure("connect", 1.0, "u"), Figure("sign-in", 2.0, "u")
    again = Figure("connect", 3.0, "u")
    rows = rows_of([("ours", first), ("ours", second), ("theirs", again), ("ours", again)])
    assert [row.line for row in rows] == ["connect", "sign-in"]
    assert rows[0].values == {"ours": (1.0, 3.0), "theirs": (3.0,)}


def test_ratio_is_above_one_when_ours_is_better() -> None:
    """Whichever way is better; it is of medians, so one bad run does not decide."""
    assert _row("x", ours=(3.0, 4.0, 100.0), theirs=(2.0,)).ratio("ours", "theirs") == 2.0
    assert _row("x", Better.LOWER, ours=(2.0,), theirs=(4.0,)).ratio("ours", "theirs") == 2.0


def test_verdict_needs_no_other_server_when_the_goal_does_not() -> None:
    """Latencies are held against a bare loop of the same run."""
    assert _row("p50 against a bare hop", Better.LOWER, ours=(2.0,)).verdict("ours") == "reached (≤ 3 unit)"
    assert not _row("connect @ 2", ours=(2.0,)).verdict("ours")


def test_ratio_is_none_when_a_server_is_missing() -> None:
    """Nothing is compared with nothing."""
    assert _row("x", ours=(3.0,)).ratio("ours", "theirs") is None


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (_row("connect @ 2", ours=(2.0,), theirs=(1.0,)), "reached (≥ 1)"),
        (_row("connect @ 2", ours=(2.0, 4.0), theirs=(1.0, 3.0)), "reached (≥ 1; ranges overlap)"),
        (_row("connect @ 2", ours=(1.0, 3.0), theirs=(2.0, 4.0)), "not reached (≥ 1; ranges overlap)"),
        (_row("connect @ 2", ours=(1.0,), theirs=(2.0,)), "not reached (≥ 1)"),
        (_row("connect @ 2", ours=(1.0,)), ""),
        (_row("memory", Better.LOWER, ours=(2.0,), theirs=(5.0,)), "reached (≥ 2, ≤ 3 unit)"),
        (_row("memory", Better.LOWER, ours=(4.0,), theirs=(9.0,)), "not reached (≥ 2, ≤ 3 unit)"),
        (_row("share of a bare loop", ours=(80.0,)), "reached (≥ 80 unit)"),
        (_row("share of a bare loop", ours=(79.0,)), "not reached (≥ 80 unit)"),
        (_row("p50 against a bare hop", Better.LOWER, ours=(3.1,)), "not reached (≤ 3 unit)"),
        (_row("something else", ours=(1.0,), theirs=(2.0,)), ""),
    ],
)
def test_row_says_whether_its_goal_is_reached_when_it_has_one(row: Row, verdict: str) -> None:
    """Against the other server, and by itself; all that is asked must hold."""
    assert row.verdict("ours", "theirs") == verdict


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentile_is_a_value_that_came_when_there_are_a_hundred(share: float, value: int) -> None:
    """The nearest rank, whatever the order."""
    assert percentile(list(range(100, 0, -1)), share) == value
