"""One process: the parts of a node, put together, started in order and stopped in order.

Start: operations port, bus and cluster (every live peer was heard), then the port for clients; one line on stdout says
that connections are accepted. Stop, on SIGTERM or `POST /drain`: `node.drain` tells how, `node.leaving` leads. A second
signal hurries, and so does Ctrl-C from the start, since somebody waits at a terminal; one more ends everything at once.
"""

import signal
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import structlog
import trio

from cluster import Member, ShardMismatchError
from node.api import Api
from node.bus import ClusterMetrics, cluster_settings, make_bus
from node.certificates import Certificate
from node.collector import collect_now_and_then, tame
from node.config.apps import Apps, load_apps
from node.config.reload import AppsFile, Watched, reload_on_hangup
from node.config.settings import Settings
from node.connection import Pace
from node.drain import LAST_WORDS
from node.hub import Hub, HubSettings
from node.leaving import Leaving
from node.limits import Limits, limit_failures, limit_traffic
from node.logs import configure_logs
from node.metrics import Metrics
from node.operations import Operations, Readiness, measure_loop_lag
from node.rebalancing import shed_skew
from node.transport.head import HttpLimits
from node.transport.listener import serve
from node.transport.plain import PlainListener
from node.transport.poller import SUPPORTED
from node.transport.settings import TransportSettings
from node.webhooks.service import Webhooks

log = structlog.get_logger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_OBSERVE_INTERVAL = 0.5  # seconds between two looks at what gauges show


def run(settings: Settings) -> int:
    """Run a node until it is told to stop; the exit status. Raises `ConfigError`."""
    configure_logs(settings.log)
    node = Node(settings)
    problem = ""
    try:
        trio.run(node.run)
    except* (ShardMismatchError, OSError) as group:
        problem = "; ".join(str(error) for error in _leaves(group))
    if problem:
        log.error("cannot run", reason=problem)
    return 1 if problem else 0


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class Node:
    """One node. Make it, then `run` it once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        apps = Apps()
        self._metrics = Metrics()
        self._metrics.build_info.labels(version("usher-realtime")).set(1)
        reloads = self._metrics.reloads
        self._watched = [
            Watched(AppsFile(settings.apps, apps), reloads)
        ]  # before the first look: what changes meanwhile is seen
        apps.replace(load_apps(settings.apps))
        self._certificate = Certificate(settings.tls) if settings.tls.certificate else None
        if self._certificate is not None:
            self._watched.append(Watched(self._certificate, reloads))
            self._metrics.certificate_expiry.measure(partial(getattr, self._certificate, "expires_at"))
        self._readiness = Readiness(self._metrics, bus_grace=settings.nats.ready_grace)
        self._cluster_metrics = ClusterMetrics(self._metrics)
        self._hub = Hub(apps, self._metrics, _hub_settings(settings))
        self._leaving = Leaving(settings, self._hub, self._metrics)
        self._operations = Operations(self._metrics, self._readiness, self._leaving.begin, remote=settings.drain.remote)
        self._member = Member(make_bus(settings), cluster_settings(settings), self._hub.listener, self._cluster_metrics)
        self._hub.begin(self._member)
        self._webhooks = Webhooks(apps, self._metrics, settings.webhooks, self._member)
        self._hub.tell_webhooks(self._webhooks)
        self._metrics.outbox_bytes.measure(lambda: self._hub.buffered)
        self._metrics.fanout_backlog.measure(lambda: self._hub.fanout.backlog)
        self._api = Api(apps, self._hub.audience, self._metrics, path_prefix=settings.path_prefix)
        self._serving = False

    async def run(self) -> None:
        """Start everything, serve until told to stop, stop everything."""
        async with trio.open_nursery() as background:
            background.start_soon(self._heed_signals, background.cancel_scope)
            for watched in self._watched:
                background.start_soon(watched.watch)
            await background.start(reload_on_hangup, self._watched)
            background.start_soon(measure_loop_lag, self._metrics)
            background.start_soon(self._observe)
            background.start_soon(collect_now_and_then)
            operations = await trio.open_tcp_listeners(self._settings.ops_port, host=self._settings.ops_host)
            background.start_soon(self._operations.serve, operations)
            await background.start(self._member.run)
            background.start_soon(self._hub.run)
            background.start_soon(shed_skew, self._hub, self._member, self._settings.rebalance)
            background.start_soon(self._webhooks.run)
            await self._serve_clients()
            await self._leave()
            background.cancel_scope.cancel()

    async def _serve_clients(self) -> None:
        """Accept connections until told to stop; then close all that there are, as the drain's settings say."""
        tcp = await trio.open_tcp_listeners(self._settings.port, host=self._settings.host)
        port = tcp[0].socket.getsockname()[1]
        listeners = [self._choose_transport(listener) for listener in tcp]
        async with trio.open_nursery() as nursery:
            settings = _transport_settings(self._settings)
            api = self._api
            await nursery.start(serve, listeners, self._hub, api.handle, settings, self._metrics, api.handle_nowait)
            tame()
            self._serving = True
            self._readiness.set_listening(listening=True)
            self._hub.listener.takes_clients = True
            self._announce(port)
            await self._leaving.begun.wait()
            self._readiness.set_draining()
            self._hub.listener.takes_clients = False
            await self._leaving.await_delay()
            for listener in listeners:
                await listener.aclose()
            await self._leaving.close_all()
            self._leaving.bound(nursery.cancel_scope)

    def _choose_transport(self, listener: trio.SocketListener) -> trio.abc.Listener[Any]:
        """TLS goes the way of all streams; plain TCP the fast one, where there is epoll."""
        if self._certificate is not None:
            return trio.SSLListener(listener, self._certificate.context)
        return PlainListener(listener) if SUPPORTED else listener

    async def _leave(self) -> None:
        """Let users who came back elsewhere make no noise, say goodbye, and let webhooks arrive."""
        await self._leaving.await_lingers(self._member)
        if not self._settings.nats.servers:
            await self._webhooks.wait_for_ends(self._settings.presence.linger)
        with trio.move_on_after(LAST_WORDS):
            await self._member.say_goodbye()
        await self._webhooks.close()

    def _announce(self, port: int) -> None:
        """The one line that says that connections are accepted; whoever starts a node waits for it."""
        scheme = "https" if self._certificate else "http"
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        sys.stdout.write(f"usher {self._member.node_id} accepts connections on {scheme}://{host}:{port}\n")
        sys.stdout.flush()

    async def _heed_signals(self, everything: trio.CancelScope) -> None:
        """See the module's first lines."""
        for stop in _STOP_SIGNALS:  # what holds again when the receiver is closed: the process ends anyway, and with 0
            signal.signal(stop, signal.SIG_IGN)
        with trio.open_signal_receiver(*_STOP_SIGNALS) as signals:
            async for number in signals:
                log.info("told to stop", signal=signal.Signals(number).name, again=self._leaving.begun.is_set())
                if self._leaving.hurried or not self._serving:
                    everything.cancel()
                elif self._leaving.begun.is_set() or number == signal.SIGINT:
                    self._leaving.hurry()
                else:
                    self._leaving.begin()

    async def _observe(self) -> None:
        """Keep the gauges and the readiness true."""
        while True:
            self._readiness.set_bus(self._member.connected, trio.current_time())
            self._cluster_metrics.observe(self._member)
            await trio.sleep(_OBSERVE_INTERVAL)


def _hub_settings(settings: Settings) -> HubSettings:
    limits, longest = settings.limits, settings.websocket.max_message_bytes
    traffic = limit_traffic(limits.messages_per_second, limits.bytes_per_second, limits.burst, longest)
    return HubSettings(
        pace=Pace(settings.websocket.activity_timeout, settings.websocket.pong_timeout),
        path_prefix=settings.path_prefix,
        batch_interval=settings.watchlist.batch_interval,
        linger=settings.presence.linger,
        drain_linger=settings.presence.drain_linger if settings.nats.servers else settings.presence.linger,
        limits=Limits(*traffic, failures=limit_failures(limits.failures_per_minute)),
        handshakes=limits.handshakes_per_second,
        handshakes_burst=limits.handshakes_burst,
        rebalance=settings.rebalance,
    )


def _transport_settings(settings: Settings) -> TransportSettings:
    api, websocket = settings.api, settings.websocket
    return TransportSettings(
        http=HttpLimits(api.max_head_bytes, api.max_target_bytes, api.max_body_bytes),
        request_timeout=api.request_timeout,
        idle_timeout=api.keep_alive_timeout,
        max_message=websocket.max_message_bytes,
        max_outbox=websocket.outbox_bytes,
        close_timeout=websocket.close_timeout,
        max_waiting=settings.max_waiting,
        websocket_prefix=f"{settings.path_prefix}/app/",
        trust_forwarded=settings.trust_forwarded,
    )
