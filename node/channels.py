"""The channels with subscribers on this node: who they are, and what they are told (protocol.md 6 and 7).

A subscription is *held* from the verified signature on, and *confirmed* once the cluster knows that this node wants the
channel, so that no event published after the success is missed. Then, in this order and without a pause: the member is
made known, the success is told, events come, and a cache channel's last event or its lack is told.

What the cluster cannot confirm is told to the channel and closes the connection with 4100: pusher-js comes back after a
second and subscribes to everything again, while on an open connection it takes the channel for pending for good.

Everything that changes state is synchronous. Rules for editing: a frame of a channel goes through the fan-out, which keeps
the order; what one subscriber alone is told is offered directly, before it is a receiver or right when it becomes one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog
import trio

from cluster import ChannelEvent, CountChange, Member, MemberEdge
from node.actions import Action, Broadcast, Refused, Send
from node.config.apps import App
from node.connection import Connection
from node.counts import Counts
from node.fanout import Fanout
from node.metrics import Metrics
from node.protocol import frames
from node.protocol.channels import ChannelKind
from node.protocol.errors import CloseCode, LimitError
from node.refusals import refuse_subscription
from node.subscriptions import Subscription
from node.webhooks.seam import NoWebhooks, Webhooks

log = structlog.get_logger(__name__)

Disconnect = Callable[[Connection, int, str], None]

_LINGER = 1.0  # seconds that the bus still brings a channel's events after its last subscriber left: reloads cost nothing
_UNAVAILABLE = "Subscribing is not possible now, try again"


class Channel:
    """A channel with subscriptions on this node. The app is that of the first one."""

    __slots__ = ("app", "kind", "name", "needs", "receivers", "shards", "success", "success_of")

    def __init__(self, app: App, name: str, kind: ChannelKind, shards: tuple[str, ...]) -> None:
        self.app = app
        self.name = name
        self.kind = kind
        self.shards = shards  # of the directory, watched while there are subscriptions
        self.needs = 0  # subscriptions, those that are not confirmed yet included
        self.receivers: set[Connection] = set()
        self.success: bytes | None = None  # what a new subscriber is told
        self.success_of = 0  # the version of the members that it tells


class Channels:
    """The channels of this node's connections. Set `member` before anything else."""

    member: Member

    def __init__(self, metrics: Metrics, fanout: Fanout, disconnect: Disconnect, linger: float) -> None:
        """`linger`: seconds that a member whose connection closed stays."""
        self._metrics = metrics
        self._fanout = fanout
        self._linger = linger
        self._disconnect = disconnect
        self._channels: dict[tuple[str, str], Channel] = {}
        self._counts = Counts(self._tell_count)
        self.webhooks: Webhooks = NoWebhooks()

    # -- subscribing ----------------------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, subscription: Subscription) -> None:
        """A client may subscribe: let the cluster know, and answer when it does."""
        key = connection.app.id, subscription.channel
        channel = self._channels.get(key) or self._open(connection.app, subscription)
        channel.needs += 1
        done = partial(self._settle, self._answer, connection, subscription, channel)
        self.member.confirm_channel(*key, channel.shards, done)

    def _open(self, app: App, subscription: Subscription) -> Channel:
        name, kind = subscription.channel, subscription.kind
        shards: tuple[str, ...] = ()
        if kind.has_members:
            shards = (self.member.member_shard(app.id, name),)
        elif app.subscription_count:
            shards = (self.member.count_shard(app.id, name),)
        channel = self._channels[app.id, name] = Channel(app, name, kind, shards)
        self.member.hold_channel(app.id, name)
        if shards:
            self.member.watch(shards)
        self._metrics.of_app(app.id).channels.inc()
        return channel

    def _close(self, channel: Channel) -> None:
        """The last subscription has gone."""
        app, name = channel.app.id, channel.name
        del self._channels[app, name]
        self._counts.forget(channel)
        self.member.release_channel(app, name, _LINGER)
        if channel.shards:
            self.member.unwatch(channel.shards)
        self._metrics.of_app(app).channels.dec()

    def _settle(
        self, step: Callable[..., None], connection: Connection, subscription: Subscription, channel: Channel, *answer: Any
    ) -> None:
        """The cluster has answered: take the next step with it.

        The subscription may have been given up meanwhile, and all of it was let go then.
        """
        try:
            if connection.holds(subscription):
                step(connection, subscription, channel, *answer)
            else:
                self._metrics.of_app(channel.app.id).subscription_superseded.inc()
        except Exception:  # a bug of ours that one subscription shows ends one connection, not the cluster member
            self._metrics.errors.labels("subscription").inc()
            log.exception("a subscription was not completed", app=channel.app.id)
            self._disconnect(connection, CloseCode.OVER_CAPACITY, "Internal error")

    def _answer(self, connection: Connection, subscription: Subscription, channel: Channel, confirmed: bool) -> None:
        if not confirmed:
            self._give_up(connection, subscription, channel)
        elif channel.kind.is_cache:
            done = partial(self._settle, self._replay, connection, subscription, channel)
            self.member.recall(channel.app.id, channel.name, done)
        else:
            self._welcome(connection, subscription, channel)

    def _give_up(self, connection: Connection, subscription: Subscription, channel: Channel) -> None:
        self._metrics.of_app(channel.app.id).subscription_unavailable.inc()
        log.warning("subscription given up: the bus is away", app=channel.app.id)
        frame = frames.encode_subscription_error(subscription.channel, "Unavailable", _UNAVAILABLE, 503)
        connection.transport.offer(frame)
        self._disconnect(connection, CloseCode.OVER_CAPACITY, _UNAVAILABLE)

    def _replay(
        self, connection: Connection, subscription: Subscription, channel: Channel, frame: bytes | None, _ttl: float
    ) -> None:
        """The last event of a cache channel, or its lack, is known: it follows the success (protocol.md 6.6)."""
        if not self._welcome(connection, subscription, channel):
            return
        connection.transport.offer(frame or frames.encode_cache_miss(channel.name))
        if frame is None:
            self.webhooks.cache_miss(channel.app, channel.name)

    def _welcome(self, connection: Connection, subscription: Subscription, channel: Channel) -> bool:
        """Subscribed: the others learn of a new member, and the subscriber gets the success. False: there is no room."""
        if subscription.member is not None and not self._join(connection, subscription, channel):
            return False
        subscription.is_confirmed = True
        connection.transport.offer(self._success_of(channel))
        channel.receivers.add(connection)
        self._count(channel)
        metrics = self._metrics.of_app(channel.app.id)
        metrics.subscribed.inc()
        metrics.subscriptions.inc()
        return True

    def _success_of(self, channel: Channel) -> bytes:
        """Encoded once for all who come, until members come, go, or have another info, which nobody else is told."""
        version = self.member.members_version(channel.app.id, channel.name) if channel.kind.has_members else 0
        if channel.success is None or channel.success_of != version:
            if channel.kind.has_members:
                members = self.member.members(channel.app.id, channel.name)
                channel.success = frames.encode_presence_succeeded(channel.name, members)
            else:
                channel.success = frames.encode_subscription_succeeded(channel.name)
            channel.success_of = version
        return channel.success

    def _join(self, connection: Connection, subscription: Subscription, channel: Channel) -> bool:
        """Make a member known in the cluster, unless there are too many (protocol.md 6.5).

        Nodes do not wait for each other here: users who come through several at once can pass the limit together.
        """
        app, who = channel.app, subscription.member
        assert who is not None  # noqa: S101 - presence channels have members
        limit = connection.app.presence_members
        if limit:
            members = self.member.members(app.id, channel.name)
            if len(members) >= limit and who.user_id not in members:
                error = LimitError("The maximum members per presence channel limit was reached")
                self._refuse(connection, subscription, refuse_subscription(channel.name, error))
                return False
        self.member.join_member(app.id, channel.name, who.user_id, who.info)
        return True

    def _refuse(self, connection: Connection, subscription: Subscription, actions: Sequence[Action]) -> None:
        connection.drop(subscription)
        self.leave(connection, subscription)
        for action in actions:
            if isinstance(action, Send):
                connection.transport.offer(action.frame)
            elif isinstance(action, Refused):
                self._metrics.of_app(connection.app.id).of_refusal(action.what).inc()

    # -- leaving --------------------------------------------------------------------------------------------------

    def leave(self, connection: Connection, subscription: Subscription, linger: float = 0.0) -> None:
        """A subscription is over, confirmed or not. `linger`: seconds that its member stays, who may come back."""
        channel = self._channels[connection.app.id, subscription.channel]
        if subscription.is_confirmed:
            subscription.is_confirmed = False
            channel.receivers.discard(connection)
            self._fanout.leave(channel, connection)
            if subscription.member is not None:
                self.member.leave_member(channel.app.id, channel.name, subscription.member.user_id, linger)
            self._count(channel)
            self._metrics.of_app(channel.app.id).subscriptions.dec()
        channel.needs -= 1
        if not channel.needs:
            self._close(channel)

    def forget(self, connection: Connection, linger: float | None = None) -> None:
        """A connection is closed; idempotent. `linger`: seconds that its members stay; None: as configured."""
        linger = self._linger if linger is None else linger
        subscriptions, connection.subscriptions = connection.subscriptions, None
        for subscription in (subscriptions or {}).values():
            self.leave(connection, subscription, linger)

    # -- events ---------------------------------------------------------------------------------------------------

    def receive_event(self, event: ChannelEvent) -> bool:
        """Deliver to the channel's subscribers here; False if there are none."""
        channel = self._channels.get((event.app, event.channel))
        if channel is None:
            return False
        but_for = event.except_socket_id
        left_out = but_for is not None and any(each.socket_id == but_for for each in channel.receivers)
        self._metrics.of_app(event.app).channel_deliveries.inc(len(channel.receivers) - left_out)
        self._fanout.deliver(channel, channel.receivers, event.frame, but_for)
        return True

    def broadcast(self, connection: Connection, action: Broadcast) -> None:
        """A client event for all other subscribers, here and elsewhere (protocol.md 7). It may be lost, and is not kept.

        Who sent it is what the app signed for the subscription, whatever the frame said.
        """
        app, subscription = connection.app, action.subscription
        user_id = subscription.member.user_id if subscription.member else None
        frame = frames.encode_event(action.event, subscription.channel, action.data, user_id)
        event = ChannelEvent(app.id, subscription.channel, frame, connection.socket_id)
        self._metrics.of_app(app.id).client_events.inc()
        self.receive_event(event)
        self.member.send_client_event(event)
        self.webhooks.client_event(app, subscription.channel, action.event, action.data, connection.socket_id, user_id)

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """Users came to presence channels or left them, in the cluster (protocol.md 6.5).

        The subscriber who is a new member is no receiver yet, so it is not told of itself.
        """
        for edge in edges:
            channel = self._channels.get((edge.app, edge.channel))
            if channel is None:
                continue
            if edge.joined:
                frame = frames.encode_member_added(edge.channel, edge.user, edge.info)
            else:
                frame = frames.encode_member_removed(edge.channel, edge.user)
            self._fanout.deliver(channel, channel.receivers, frame, essential=True)

    # -- counts ---------------------------------------------------------------------------------------------------

    def _count(self, channel: Channel) -> None:
        """Subscribers here are others now."""
        self.member.set_count(channel.app.id, channel.name, len(channel.receivers))
        if channel.shards and not channel.kind.has_members:
            self._counts.expect(channel, trio.current_time())

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """Numbers of subscriptions changed in the cluster (protocol.md 6.7)."""
        now = trio.current_time()
        for change in changes:
            channel = self._channels.get((change.app, change.channel))
            if channel is not None and channel.shards and not channel.kind.has_members:
                self._counts.change(channel, change.after, now)

    def _tell_count(self, channel: Channel) -> None:
        count = self.member.count_of(channel.app.id, channel.name)
        self._fanout.deliver(
            channel, channel.receivers, frames.encode_subscription_count(channel.name, count), essential=True
        )

    async def run(self) -> None:
        """Tell counts that are due, until cancelled."""
        await self._counts.run()
