"""Histograms as Prometheus reads them: the same text as prometheus-client's own for the same observations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest

from node.histograms import Histograms

BOUNDS = (0.005, 0.1, 1, 2.5)

disable_created_metrics()  # type: ignore[no-untyped-call]


@given(st.lists(st.sampled_from([*BOUNDS, 0.0, 0.0049, 0.2, 1.0001, 7.0])))
def test_histograms_read_like_those_of_the_library(values: list[float]) -> None:
    """Bounds are inclusive, buckets cumulated, sum and count there."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histograms = Histograms("seconds", "Text.", BOUNDS, ("route",))
    ours.register(histograms)
    library = Histogram("seconds", "Text.", ("route",), buckets=BOUNDS, registry=theirs)
    for value in values:
        histograms.labels("a").observe(value)
        library.labels("a").observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


def test_histogram_without_labels_is_there_from_the_start() -> None:
    """A first step that appears with its series is not seen by a rate."""
    registry = CollectorRegistry()
    registry.register(Histograms("seconds", "Text.", BOUNDS, ()))
    assert b"seconds_count 0.0" in generate_latest(registry)


def test_histogram_with_labels_cannot_be_observed_without() -> None:
    """A mistake of ours, found at once."""
    histograms = Histograms("seconds", "Text.", BOUNDS, ("route",))
    with pytest.raises(ValueError, match="say which"):
        histograms.observe(1)
    with pytest.raises(ValueError, match="got 2 values"):
        histograms.labels("a", "b")
