"""What the Grafana dashboard shows: rows of panels, and the metrics on each.

Rules for whoever edits this file: every metric of the node is on a panel, and a test says which is not; to show a new
one, add a line to the row where an operator would look for it, then run `python -m deploy.dashboard`. Queries, units,
legends and descriptions follow from the metric's kind, labels and name, so a panel says only what differs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from node.metrics import Description

_PER_NODE: Final = ("instance",)
_TOGETHER: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A title, metrics that are read together, and how they are summed.

    `by` names the labels that stay; None: those of each metric, or where it has none one line for each node (a
    histogram: for all together). `unit` is Grafana's word; empty: what the metric's name says.
    """

    title: str
    metrics: tuple[str, ...]
    by: tuple[str, ...] | None = None
    unit: str = ""
    shape: Literal["timeseries", "stat"] = "timeseries"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


FOREIGN: Final = (
    Description("up", "gauge", (), "1 for a target that Prometheus could scrape, else 0."),
    Description("process_cpu_seconds_total", "counter", (), "CPU time; a node uses one core at most."),
    Description("process_resident_memory_bytes", "gauge", (), "Memory that the node occupies."),
    Description("process_open_fds", "gauge", (), "Open files: one for each connection, and some."),
    Description("process_max_fds", "gauge", (), "Files that the node may open."),
    Description("python_gc_collections_total", "counter", ("generation",), "Garbage collections, by generation."),
)
"""Metrics on the dashboard that are not the node's own. All but `up` are on its `/metrics`."""

ROWS: Final = (
    Row(
        "Now",
        (
            Panel("Nodes", ("up",), _TOGETHER, shape="stat"),
            Panel("Connections", ("usher_connections",), _TOGETHER, shape="stat"),
            Panel("Signed in", ("usher_signed_in_connections",), _TOGETHER, shape="stat"),
            Panel("Sign-ins", ("usher_signins_total",), _TOGETHER, shape="stat"),
            Panel("API requests", ("usher_api_requests_total",), _TOGETHER, shape="stat"),
            Panel("Errors", ("usher_errors_total",), _TOGETHER, shape="stat"),
        ),
    ),
    Row(
        "Connections",
        (
            Panel("Connections of apps", ("usher_connections", "usher_signed_in_connections")),
            Panel("Connections on nodes", ("usher_connections",), _PER_NODE),
            Panel("Messages from clients", ("usher_messages_received_total",)),
            Panel("Closes", ("usher_closes_total",)),
            Panel("Sent to other nodes", ("usher_shed_connections_total",)),
            Panel("Waiting for slow clients", ("usher_outbox_bytes",)),
            Panel("Slow clients closed", ("usher_slow_consumer_closes_total",)),
            Panel("Clients over a limit", ("usher_oversteps_total",)),
        ),
    ),
    Row(
        "Users",
        (
            Panel("Users of apps", ("usher_users_online_here",)),
            Panel("Sign-ins by result", ("usher_signins_total",), ("result",)),
            Panel("Terminations", ("usher_terminations_total",)),
            Panel("Time to terminate", ("usher_termination_seconds",)),
        ),
    ),
    Row(
        "Watchlists",
        (
            Panel("Watched pairs", ("usher_watch_edges",)),
            Panel("Watchlist events", ("usher_watchlist_events_total",)),
            Panel("Time to offline", ("usher_offline_seconds",)),
            Panel("Shards followed", ("usher_shards_watched",)),
            Panel("Flaps", ("usher_presence_flaps_total",)),
            Panel("Repairs", ("usher_presence_repairs_total",)),
        ),
    ),
    Row(
        "Channels",
        (
            Panel("Channels of apps", ("usher_channels_here",), _PER_NODE),
            Panel("Subscriptions of apps", ("usher_subscriptions",), _PER_NODE),
            Panel("Subscribes by result", ("usher_subscribes_total",), ("result",)),
            Panel("Deliveries", ("usher_channel_deliveries_total",)),
            Panel("Client events", ("usher_client_events_total",)),
            Panel("Deliveries that wait", ("usher_fanout_backlog",)),
            Panel("Events not delivered: the node was behind", ("usher_fanout_dropped_total",)),
        ),
    ),
    Row(
        "HTTP API",
        (
            Panel("Requests by route", ("usher_api_requests_total",), ("route",)),
            Panel("Requests by status", ("usher_api_requests_total",), ("status",)),
            Panel("Time to answer", ("usher_api_request_seconds",)),
        ),
    ),
    Row(
        "Webhooks",
        (
            Panel("Events taken", ("usher_webhook_events_total",), ("name",)),
            Panel("Events given up", ("usher_webhook_events_dropped_total",), ("reason",)),
            Panel("Requests by result", ("usher_webhook_requests_total",), ("result",)),
            Panel("Requests sent again", ("usher_webhook_retries_total",)),
            Panel("Events that wait", ("usher_webhook_queue",)),
            Panel("Time to answer of receivers", ("usher_webhook_request_seconds",)),
        ),
    ),
    Row(
        "Cluster and bus",
        (
            Panel("Bus connected", ("usher_bus_connected",)),
            Panel("Bus came back", ("usher_bus_reconnects_total",)),
            Panel("Peers", ("usher_peers",), _PER_NODE),
            Panel("Bus messages", ("usher_bus_messages_total",)),
            Panel("Bus messages for nobody here", ("usher_bus_unclaimed_total",)),
            Panel("Interests", ("usher_interests",)),
            Panel("Time of a fence", ("usher_fence_seconds",)),
            Panel("Fences that a peer kept waiting", ("usher_fence_timeouts_total",)),
        ),
    ),
    Row(
        "Processes",
        (
            Panel("CPU", ("process_cpu_seconds_total",), unit="percentunit"),
            Panel("Memory", ("process_resident_memory_bytes",)),
            Panel("Lag of the loop", ("usher_loop_lag_seconds",), _PER_NODE),
            Panel("Files", ("process_open_fds", "process_max_fds")),
            Panel("Garbage collections", ("python_gc_collections_total",)),
            Panel("Errors by where", ("usher_errors_total",)),
            Panel("Versions", ("usher_build_info",)),
            Panel("Reloads", ("usher_reloads_total",)),
            Panel("Certificate expires", ("usher_certificate_expiry_timestamp_seconds",)),
        ),
    ),
    Row(
        "Leaving nodes",
        (
            Panel("Draining", ("usher_draining",)),
            Panel("Stage of the drain", ("usher_drain_stage",)),
            Panel("Connections left to close", ("usher_drain_remaining",), _PER_NODE),
            Panel("Connections cut off", ("usher_forced_closes_total",)),
        ),
    ),
)


def shown() -> Iterator[str]:
    """Every metric that is on a panel, as often as it is."""
    for row in ROWS:
        for panel in row.panels:
            yield from panel.metrics
