"""Metrics: their names, labels, and what Prometheus thinks of them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.histograms import Histograms
from node.metrics import ERRORS, REPAIRS, Metrics
from node.tallies import Tallies

ROOT = Path(__file__).parents[2]
LABELS = {
    "app",
    "code",
    "direction",
    "kind",
    "limit",
    "measure",
    "name",
    "reason",
    "result",
    "route",
    "stage",
    "state",
    "status",
    "version",
    "what",
    "where",
}


def filled() -> Metrics:
    """Metrics in which every series has a value."""
    metrics = Metrics()
    for name, metric in each(metrics):
        labels = next(item.labels for item in metrics.described if name in item.name)
        values = ["x"] * len(labels)
        if isinstance(metric, Histograms):
            (metric.labels(*values) if labels else metric).observe(1)
        else:
            (metric.labels(*values) if labels else metric).inc()
    return metrics


def each(metrics: Metrics) -> Iterator[tuple[str, Tallies | Histograms]]:
    """Every metric with the name of its attribute."""
    for name, value in vars(metrics).items():
        if isinstance(value, Tallies | Histograms):
            yield name, value


def test_metrics_have_the_names_that_dashboards_know() -> None:
    """Renaming one breaks somebody's alert: this list changes only with the changelog."""
    assert {name for name, _ in each(Metrics())} == {
        *("connections", "signed_in_connections", "messages_received", "closes", "outbox_bytes"),
        *("slow_consumer_closes", "oversteps", "forced_closes", "draining", "drain_stage", "drain_remaining"),
        *("api_requests", "api_request_seconds", "users_online"),
        *("channels", "subscriptions", "subscribes", "channel_deliveries", "client_events"),
        *("fanout_backlog", "fanout_dropped"),
        *("watch_edges", "shards_watched", "signins", "watchlist_events", "offline_seconds", "terminations"),
        *("termination_seconds", "presence_flaps", "presence_repairs", "bus_messages", "bus_unclaimed"),
        *("bus_connected", "bus_reconnects", "interests", "peers", "fence_seconds", "fence_timeouts"),
        *("webhook_events", "webhook_events_dropped", "webhook_requests", "webhook_retries", "webhook_queue"),
        *("webhook_request_seconds", "loop_lag", "errors", "reloads", "certificate_expiry", "build_info"),
        "shed_connections",
    }


def test_metrics_describe_what_they_expose() -> None:
    """The reference table has every series of the node, with its true type."""
    text = filled().exposition().decode()
    exposed = set(re.findall(r"^# TYPE (usher_\w+) (\w+)$", text, re.MULTILINE))
    assert exposed == {(item.name, item.kind) for item in Metrics().described}


def test_counters_of_what_should_not_happen_begin_at_zero() -> None:
    """A counter that appears with its first error has no increase, and nobody is told."""
    text = Metrics().exposition().decode()
    for where in ERRORS:
        assert f'usher_errors_total{{where="{where}"}} 0.0' in text
    for reason in REPAIRS:
        assert f'usher_presence_repairs_total{{reason="{reason}"}} 0.0' in text


def test_lists_of_labels_are_those_of_the_code() -> None:
    """Whoever counts an error in a new place adds it to the list."""
    code = "".join(path.read_text() for folder in ("node", "cluster") for path in (ROOT / folder).rglob("*.py"))
    assert set(re.findall(r'(?:errors\.labels\(|_give_up\(connection, )"([^"]+)"', code)) == set(ERRORS)
    assert set(re.findall(r'(?:repaired\(|repair=)"([^"]+)"', code)) == set(REPAIRS)


def test_metrics_have_no_label_that_clients_choose() -> None:
    """User ids, channels and socket ids would make a series for each client, and tell who they are."""
    assert {label for item in Metrics().described for label in item.labels} <= LABELS


def test_metrics_of_two_nodes_in_one_process_are_their_own() -> None:
    """Simulations run many nodes at once."""
    one, two = Metrics(), Metrics()
    one.signins.labels("app", "success").inc()
    assert b'usher_signins_total{app="app",result="success"} 1.0' in one.exposition()
    assert b"usher_signins_total{" not in two.exposition()


def test_metrics_tell_of_the_process_and_its_garbage() -> None:
    """Memory, files and collections come with every node."""
    text = Metrics().exposition()
    for name in (b"process_resident_memory_bytes", b"process_open_fds", b"python_gc_collections_total"):
        assert name in text


def test_metrics_pass_promtool() -> None:
    """Names, units, suffixes and help texts are what Prometheus recommends."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=filled().exposition(), capture_output=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
