"""The node's bus, made from its settings, and what the cluster does told as metrics."""

import ssl

from cluster import Bus, ClusterSettings, LocalBus, Member, MembershipSettings, NatsBus, NatsSettings
from node.config.keys import ConfigError
from node.config.settings import Nats, NatsTls, Settings
from node.metrics import Metrics
from node.tallies import Tally


def make_bus(settings: Settings) -> Bus:
    """NATS if there are servers, else the bus of a single node. Raises `ConfigError` for unreadable certificates."""
    nats = settings.nats
    return NatsBus(_nats_settings(nats, settings.name)) if nats.servers else LocalBus()


def _nats_settings(nats: Nats, name: str) -> NatsSettings:
    return NatsSettings(
        servers=nats.servers,
        name=f"usher {name}".strip(),
        user=nats.user or None,
        password=nats.password or None,
        token=nats.token or None,
        credentials=nats.credentials or None,
        nkey=nats.nkey or None,
        tls=_tls_context(nats),
        tls_hostname=nats.tls.hostname or None,
        connect_timeout=nats.connect_timeout,
        reconnect_wait=nats.reconnect_wait,
    )


def _tls_context(nats: Nats) -> ssl.SSLContext | None:
    """How to trust the servers; None where no TLS was asked for."""
    if nats.tls == NatsTls() and not any(url.startswith(("tls://", "wss://")) for url in nats.servers):
        return None
    try:
        context = ssl.create_default_context(cafile=nats.tls.ca or None)
        if nats.tls.certificate:
            context.load_cert_chain(nats.tls.certificate, nats.tls.key or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"nats.tls: expected readable PEM files, got: {error}") from error
    return context


def cluster_settings(settings: Settings) -> ClusterSettings:
    """What the cluster needs to know. Alone, there is nobody to wait for."""
    cluster = settings.cluster
    return ClusterSettings(
        prefix=settings.nats.prefix,
        shards=cluster.shards,
        heartbeat_interval=cluster.heartbeat_interval,
        fence_timeout=cluster.fence_timeout,
        confirm_timeout=cluster.confirm_timeout,
        shard_linger=cluster.shard_linger,
        presence_linger=settings.presence.linger,
        join_wait=cluster.heartbeat_interval * 1.2 if settings.nats.servers else 0.0,
        membership=MembershipSettings(probe_after=cluster.probe_after, lease=cluster.lease),
    )


class ClusterMetrics:
    """Counts what the cluster does (`cluster.Stats`), and sets its gauges when asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._messages: dict[tuple[str, str], Tally] = {}  # labels() costs more than the rest of a message's way
        self._bus_ups = 1  # of which the counter was told; the first is no return

    def message(self, direction: str, kind: str) -> None:
        """See `cluster.Stats`."""
        counter = self._messages.get((direction, kind))
        if counter is None:
            counter = self._messages[direction, kind] = self._metrics.bus_messages.labels(direction, kind)
        counter.inc()

    def unclaimed(self, kind: str) -> None:
        """See `cluster.Stats`."""
        self._metrics.bus_unclaimed.labels(kind).inc()

    def repaired(self, reason: str) -> None:
        """See `cluster.Stats`."""
        self._metrics.presence_repairs.labels(reason).inc()

    def fenced(self, seconds: float, *, timed_out: bool) -> None:
        """See `cluster.Stats`."""
        self._metrics.fence_seconds.observe(seconds)
        if timed_out:
            self._metrics.fence_timeouts.inc()

    def observe(self, member: Member) -> None:
        """Set the gauges to how things stand."""
        if member.bus_ups > self._bus_ups:
            self._metrics.bus_reconnects.inc(member.bus_ups - self._bus_ups)
            self._bus_ups = member.bus_ups
        self._metrics.interests.set(member.interests)
        self._metrics.shards_watched.set(member.shards_watched)
        self._metrics.peers.labels("up").set(member.peers)
