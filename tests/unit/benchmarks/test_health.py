"""What pages of metrics say about loop lag."""

from benchmarks.health import add_samples, quantile_bound
from node.metrics import Metrics


def test_samples_add_up_when_two_nodes_are_scraped() -> None:
    """Buckets by their bounds, counters over all labels and by each."""
    metrics = Metrics()
    for seconds in (0.0001, 0.0001, 0.2):
        metrics.loop_lag.observe(seconds)
    metrics.presence_repairs.labels("gap").inc(2)
    lag: dict[float, float] = {}
    counted: dict[str, float] = {}
    for _ in range(2):
        add_samples(metrics.exposition().decode(), lag, counted)
    assert lag[0.0005] == 4
    assert lag[float("inf")] == 6
    assert counted["usher_presence_repairs_total"] == 4
    assert counted['usher_presence_repairs_total reason="gap"'] == 4


def test_quantile_is_the_first_bound_that_is_enough_when_buckets_are_cumulative() -> None:
    """The bound of the bucket, and 0 of nothing."""
    buckets = {0.1: 98.0, 0.5: 99.0, 1.0: 100.0}
    assert quantile_bound(buckets, 0.99) == 0.5
    assert quantile_bound(buckets, 1.0) == 1.0
    assert quantile_bound({0.1: 0.0}, 0.99) == 0.0
