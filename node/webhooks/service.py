"""The webhooks of a node: what happens goes in, requests go out. Only `run` and `close` wait.

Client events are told by the node where they happen; everything else, by the keeper of what it is about. Each webhook has a
courier, from its first event until it leaves the configuration.
"""

import time
from collections.abc import Callable, Sequence

import trio

from cluster import CountChange, Member, MemberEdge, PeerLost, UserEdge
from node.config.apps import App, Apps
from node.config.webhooks import EventName, Webhook, WebhookSettings
from node.metrics import Metrics
from node.webhooks import events
from node.webhooks.courier import Courier
from node.webhooks.events import Event, Fact, Kind, user_fact
from node.webhooks.keeper import Keeper
from node.webhooks.post import Post, Poster, make_context
from node.webhooks.recent import Recent
from node.webhooks.shards import Shards

_TICK = 0.05  # seconds
_IDLE_TICK = 0.5  # seconds, while no app has webhooks: what nobody wants should cost nothing
_LAST_ENDS = 0.3  # seconds until the cluster has told what ended with a linger
_PRESENCE = "presence-"


class Webhooks:
    """See `node.webhooks.seam.Webhooks` for what the node calls."""

    def __init__(self, apps: Apps, metrics: Metrics, settings: WebhookSettings, member: Member) -> None:
        """Raises `ConfigError` where `webhooks.ca` cannot be read."""
        context = make_context(settings)
        self._make_post: Callable[[], Poster] = lambda: Post(settings, context)
        self._apps = apps
        self._metrics = metrics
        self._settings = settings
        self._member = member
        margin = settings.batch_interval + settings.timeout
        self._keeper = Keeper(Shards(member), apps, settings.hold, margin, self._send)
        self._misses = Recent()
        self._couriers: dict[tuple[str, str], Courier] = {}  # by app and URL
        self._nursery: trio.Nursery | None = None
        self._version = -1  # of the apps that were followed last

    # -- what happens ---------------------------------------------------------------------------------------------

    def client_event(  # noqa: PLR0913, PLR0917 - see `seam.Webhooks`
        self, app: App, channel: str, event: str, data: str, socket_id: str, user_id: str | None
    ) -> None:
        """See `seam.Webhooks`."""
        if self._is_wanted(app.id, "client_event"):
            self._send(events.client_event(app.id, channel, event, data, socket_id, user_id))

    def cache_miss(self, app: App, channel: str) -> None:
        """See `seam.Webhooks`."""
        if not self._is_wanted(app.id, "cache_miss"):
            return
        if self._misses.is_news((app.id, channel), trio.current_time()):
            others = self._keeper.note_miss(app.id, channel, trio.current_time())
            self._member.tell_missed(others, app.id, channel)

    def channel_missed(self, app: str, channel: str) -> None:
        """See `seam.Webhooks`."""
        if self._misses.is_news((app, channel), trio.current_time()):
            self._keeper.note_miss(app, channel, trio.current_time())

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `seam.Webhooks`."""
        for edge in edges:
            self._note(user_fact(edge.app, edge.user), begins=edge.online, age=edge.age)

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `seam.Webhooks`."""
        for edge in edges:
            self._note(Fact(Kind.MEMBER, edge.app, edge.channel, edge.user), begins=edge.joined, age=edge.age)

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `seam.Webhooks`."""
        for change in changes:
            if not change.before or not change.after:
                fact = Fact(Kind.CHANNEL, change.app, change.channel)
                self._note(fact, begins=not change.before, age=change.age)
            if not change.channel.startswith(_PRESENCE):
                self._keeper.note_count(change.app, change.channel, change.after, trio.current_time())

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """See `seam.Webhooks`."""
        if lost is not None:
            self._keeper.peer_lost(lost.node, lost.silent, politely=lost.politely, now=trio.current_time())

    def _note(self, fact: Fact, *, begins: bool, age: float) -> None:
        self._keeper.note(fact, begins=begins, age=age, now=trio.current_time(), unix=time.time())

    # -- sending --------------------------------------------------------------------------------------------------

    def _is_wanted(self, app_id: str, name: EventName) -> bool:
        """Whether any webhook wants such events now; the app of a connection may be older than a reload."""
        app = self._apps.by_id(app_id)
        return app is not None and any(name in webhook.events for webhook in app.webhooks)

    def _send(self, event: Event) -> None:
        """Let every webhook that wants the event have it."""
        app = self._apps.by_id(event.app)
        if app is None or not app.enabled or self._nursery is None:
            return
        for webhook in app.webhooks:
            if event.name in webhook.events:
                self._courier(app.id, webhook.url, self._nursery).offer(event)

    def _courier(self, app: str, url: str, nursery: trio.Nursery) -> Courier:
        courier = self._couriers.get((app, url))
        if courier is None:
            courier = Courier(app, url, lambda: self._find(app, url), self._make_post(), self._settings, self._metrics)
            self._couriers[app, url] = courier
            nursery.start_soon(courier.run)
        return courier

    def _find(self, app_id: str, url: str) -> tuple[App, Webhook] | None:
        app = self._apps.by_id(app_id)
        if app is None or not app.enabled:
            return None
        return next(((app, webhook) for webhook in app.webhooks if webhook.url == url), None)

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch, wait and send, until cancelled. Begin when the node is a member of the cluster, and before clients come."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                self._keeper.tick(trio.current_time())
                self._follow_apps()
                self._measure()
                await trio.sleep(_TICK if any(app.webhooks for app in self._apps) else _IDLE_TICK)

    async def wait_for_ends(self, linger: float) -> None:
        """Every connection was closed: if nobody goes on, wait for what ends with them, for a bit more than the linger."""
        if self._keeper.is_last and any(app.webhooks for app in self._apps):
            await trio.sleep(linger + _LAST_ENDS)

    async def close(self) -> None:
        """Hand over to other nodes, after the goodbye to them, and let what is here arrive: for one timeout at the most."""
        self._keeper.leave(trio.current_time())
        with trio.move_on_after(self._settings.batch_interval + self._settings.timeout):
            while any(map(len, self._couriers.values())):  # noqa: ASYNC110 - for one timeout, when the node leaves
                await trio.sleep(_TICK)
        for courier in self._couriers.values():
            courier.stop("left")
        self._couriers.clear()

    def _follow_apps(self) -> None:
        """Stop whatever a reload has taken away, and count for whatever it has brought."""
        if self._version == self._apps.version:
            return
        self._version = self._apps.version
        for each in self._apps:
            self._metrics.webhook_retries.labels(each.id)  # there from the start, so that the first one is an increase
        for app, url in list(self._couriers):
            if self._find(app, url) is None:
                self._couriers.pop((app, url)).stop("removed")
                self._metrics.webhook_queue.labels(app).set(0)  # unless `_measure` finds others

    def _measure(self) -> None:
        lengths = {app.id: 0 for app in self._apps}
        for (app, _), courier in self._couriers.items():
            lengths[app] = lengths.get(app, 0) + len(courier)
        for app, length in lengths.items():
            self._metrics.webhook_queue.labels(app).set(length)
