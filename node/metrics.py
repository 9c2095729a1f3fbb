"""Metrics of one node: about users, not only sockets.

Rules for whoever edits this file: names are `usher_*` in base units, counters end in `_total`, and `promtool
check metrics` passes. A label's values come from short lists in the code: never a user id, a channel, a
socket id, an address or a close code that a client chose (those count as `other`). The `app` label is the
app's id. Every metric belongs to one `Metrics`, so that several nodes can live in one process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from node.actions import Refusal
from node.balance import Reason
from node.histograms import Histograms
from node.tallies import Tallies, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for every counter, which nobody reads

_LATENCY: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OFFLINE: Final = (0.1, 0.5, 1, 1.25, 1.5, 2, 2.5, 3, 5, 10, 30)

ERRORS: Final = ("api", "connection", "message", "sign-in", "subscription", "timer", "webhook")
"""Where an error may be met that should not happen."""
REPAIRS: Final = ("gap", "heartbeat", "unanswered")
"""Why a node asks for a snapshot again (`cluster.Stats.repaired`)."""
RELOADED: Final = ("apps", "certificate")
"""What is made again when its files change."""


@dataclass(frozen=True, slots=True)
class Description:
    """A metric as Prometheus sees it, for the reference table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


class Metrics:
    """All metrics of a node, one attribute each, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.described: list[Description] = []
        self._apps: dict[str, AppMetrics] = {}
        self._routes: dict[tuple[str, int], RouteMetrics] = {}
        self._messages: dict[type[object], Tally] = {}
        self._add_connections()
        self._add_channels()
        self._add_users()
        self._add_bus()
        self._add_webhooks()
        self._add_process()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def of_app(self, app: str) -> AppMetrics:
        """An app's own series. Finding them by their labels each time would cost more than what is counted."""
        metrics = self._apps.get(app)
        if metrics is None:
            metrics = self._apps[app] = AppMetrics(self, app)
        return metrics

    def of_route(self, route: str, status: int) -> RouteMetrics:
        """The series of one route and status of the HTTP API."""
        metrics = self._routes.get((route, status))
        if metrics is None:
            metrics = self._routes[route, status] = RouteMetrics(self, route, status)
        return metrics

    def of_message(self, kind: type[object]) -> Tally:
        """The counter of one kind of message from clients."""
        counter = self._messages.get(kind)
        if counter is None:
            counter = self._messages[kind] = self.messages_received.labels(kind.__name__.lower())
        return counter

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format; its type is CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _add_connections(self) -> None:
        self.connections = self._gauge("connections", "Connections that are established.", "app")
        self.signed_in_connections = self._gauge("signed_in_connections", "Connections that are signed in as a user.", "app")
        self.messages_received = self._counter("messages_received", "Messages from clients, by kind.", "kind")
        self.closes = self._counter("closes", "Connections that ended, by close code.", "code")
        self.outbox_bytes = self._gauge("outbox_bytes", "Bytes that wait for slow clients, all connections together.")
        self.slow_consumer_closes = self._counter(
            "slow_consumer_closes", "Connections closed with 4100 because their outbox was full."
        )
        self.forced_closes = self._counter(
            "forced_closes", "Connections cut off: the peer did not take what waited, or not close, in time."
        )
        self.oversteps = self._counter(
            "oversteps", "Times that a client was over a limit, and what was done about it.", "limit", "measure"
        )
        self.shed_connections = self._counter(
            "shed_connections", "Connections that a node which stays sent to others, by reason.", "reason"
        )
        self.shed_connections.begin((reason.value,) for reason in Reason)
        self.draining = self._gauge("draining", "1 while the node is leaving, else 0.")
        self.drain_stage = self._gauge("drain_stage", "1 for the stage that a leaving node is in, else 0.", "stage")
        self.drain_remaining = self._gauge("drain_remaining", "Connections that a leaving node has yet to close.")
        self.api_requests = self._counter(
            "api_requests", "Requests to the HTTP API, by route and status.", "route", "status"
        )
        self.api_request_seconds = self._histogram(
            "api_request_seconds", "From the whole request to the whole response.", _LATENCY, "route"
        )

    def _add_channels(self) -> None:
        self.channels = self._gauge("channels_here", "Channels with subscriptions on this node.", "app")
        self.subscriptions = self._gauge("subscriptions", "Subscriptions on this node.", "app")
        self.subscribes = self._counter("subscribes", "Attempts to subscribe, by result.", "app", "result")
        self.channel_deliveries = self._counter(
            "channel_deliveries", "Events of channels offered to subscribers on this node.", "app"
        )
        self.client_events = self._counter("client_events", "Client events, by result.", "app", "result")
        self.fanout_backlog = self._gauge("fanout_backlog", "Deliveries that wait for others of large audiences.")
        self.fanout_dropped = self._counter(
            "fanout_dropped", "Events that nobody on this node got, because too many deliveries waited."
        )

    def _add_users(self) -> None:
        self.users_online = self._gauge("users_online_here", "Users with a signed-in connection on this node.", "app")
        self.watch_edges = self._gauge("watch_edges", "Pairs of watcher and watched held on this node.", "app")
        self.shards_watched = self._gauge("shards_watched", "Presence shards that this node follows.")
        self.signins = self._counter("signins", "Sign-ins, by result.", "app", "result")
        self.watchlist_events = self._counter("watchlist_events", "Watchlist events sent to connections, by name.", "name")
        self.offline_seconds = self._histogram(
            "offline_seconds", "From a user's last close to the offline event of a watcher here.", _OFFLINE
        )
        self.terminations = self._counter("terminations", "Users terminated through this node.")
        self.termination_seconds = self._histogram(
            "termination_seconds", "From the request to the last holder's answer.", _LATENCY
        )
        self.presence_flaps = self._counter("presence_flaps", "Users seen offline and online again within five seconds.")
        self.presence_repairs = self._counter(
            "presence_repairs", "Snapshots asked for because something was missed, by reason.", "reason"
        )
        self.presence_repairs.begin((reason,) for reason in REPAIRS)

    def _add_bus(self) -> None:
        self.bus_messages = self._counter("bus_messages", "Messages on the bus, by direction and kind.", "direction", "kind")
        self.bus_unclaimed = self._counter(
            "bus_unclaimed", "Messages from the bus that found nobody on this node, by kind.", "kind"
        )
        self.bus_connected = self._gauge("bus_connected", "1 while the bus can be reached, else 0.")
        self.bus_reconnects = self._counter("bus_reconnects", "Times that the bus came back.")
        self.interests = self._gauge("interests", "Subjects of the bus that this node wants.")
        self.peers = self._gauge("peers", "Other nodes of the cluster, by state.", "state")
        self.fence_seconds = self._histogram(
            "fence_seconds", "From a new interest to the certainty that every NATS server knows it.", _LATENCY
        )
        self.fence_timeouts = self._counter("fence_timeouts", "Fences that went on without some peer's answer.")

    def _add_webhooks(self) -> None:
        self.webhook_events = self._counter("webhook_events", "Webhook events that a receiver has taken.", "app", "name")
        self.webhook_events_dropped = self._counter(
            "webhook_events_dropped", "Webhook events that were given up, by reason.", "app", "reason"
        )
        self.webhook_requests = self._counter("webhook_requests", "Requests to webhooks, by result.", "app", "result")
        self.webhook_retries = self._counter("webhook_retries", "Requests to webhooks that were not the first.", "app")
        self.webhook_queue = self._gauge("webhook_queue", "Webhook events that wait or are on their way.", "app")
        self.webhook_request_seconds = self._histogram("webhook_request_seconds", "From a request to its answer.", _LATENCY)

    def _add_process(self) -> None:
        self.loop_lag = self._histogram("loop_lag_seconds", "How much later than asked a task was woken.", _LATENCY)
        self.errors = self._counter("errors", "Errors that should not have happened, by where.", "where")
        self.errors.begin((where,) for where in ERRORS)
        self.reloads = self._counter("reloads", "Files that changed and were read again, by result.", "what", "result")
        self.reloads.begin((what, result) for what in RELOADED for result in ("success", "refused"))
        self.certificate_expiry = self._gauge(
            "certificate_expiry_timestamp_seconds", "When the node's own TLS certificate expires; 0: it has none."
        )
        self.build_info = self._gauge("build_info", "1, with the version of the node.", "version")

    def _counter(self, name: str, text: str, *labels: str) -> Tallies:
        self._describe(f"usher_{name}_total", "counter", labels, text)
        return self._register(Tallies("counter", f"usher_{name}", text, labels))

    def _gauge(self, name: str, text: str, *labels: str) -> Tallies:
        self._describe(f"usher_{name}", "gauge", labels, text)
        return self._register(Tallies("gauge", f"usher_{name}", text, labels))

    def _register(self, tallies: Tallies) -> Tallies:
        self.registry.register(tallies)
        return tallies

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histograms:
        self._describe(f"usher_{name}", "histogram", labels, text)
        histograms = Histograms(f"usher_{name}", text, buckets, labels)
        self.registry.register(histograms)
        return histograms

    def _describe(self, name: str, kind: str, labels: tuple[str, ...], text: str) -> None:
        self.described.append(Description(name, kind, labels, text))


class AppMetrics:
    """The series of one app that are counted often."""

    __slots__ = (
        "_refusals",
        "channel_deliveries",
        "channels",
        "client_events",
        "connections",
        "signed_in",
        "signed_in_connections",
        "subscribed",
        "subscription_superseded",
        "subscription_unavailable",
        "subscriptions",
        "superseded",
        "unavailable",
        "users_online",
        "watch_edges",
    )

    def __init__(self, metrics: Metrics, app: str) -> None:
        self.connections = metrics.connections.labels(app)
        self.signed_in_connections = metrics.signed_in_connections.labels(app)
        self.users_online = metrics.users_online.labels(app)
        self.watch_edges = metrics.watch_edges.labels(app)
        self.signed_in = metrics.signins.labels(app, "success")
        self.superseded = metrics.signins.labels(app, "superseded")
        self.unavailable = metrics.signins.labels(app, "unavailable")
        self.channels = metrics.channels.labels(app)
        self.subscriptions = metrics.subscriptions.labels(app)
        self.subscribed = metrics.subscribes.labels(app, "success")
        self.subscription_superseded = metrics.subscribes.labels(app, "superseded")
        self.subscription_unavailable = metrics.subscribes.labels(app, "unavailable")
        self.channel_deliveries = metrics.channel_deliveries.labels(app)
        self.client_events = metrics.client_events.labels(app, "accepted")
        self._refusals = {
            Refusal.SIGN_IN: metrics.signins.labels(app, "refused"),
            Refusal.SUBSCRIPTION: metrics.subscribes.labels(app, "refused"),
            Refusal.CLIENT_EVENT: metrics.client_events.labels(app, "refused"),
            Refusal.CLIENT_EVENT_RATE: metrics.client_events.labels(app, "over the rate"),
        }

    def of_refusal(self, what: Refusal) -> Tally:
        """The counter of one kind of refusals."""
        return self._refusals[what]


class RouteMetrics:
    """The series of one route and status of the HTTP API."""

    __slots__ = ("_requests", "_seconds")

    def __init__(self, metrics: Metrics, route: str, status: int) -> None:
        self._requests = metrics.api_requests.labels(route=route, status=str(status))
        self._seconds = metrics.api_request_seconds.labels(route)

    def count(self, seconds: float) -> None:
        """One request was answered after so many seconds."""
        self._requests.inc()
        self._seconds.observe(seconds)
