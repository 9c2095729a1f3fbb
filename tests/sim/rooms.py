"""Channels in the simulation: subscribers with members, counts and cached events, and what they are promised.

Members join and leave by turns, each change of a count begins where the last one ended, an event comes once. In the end
members and counts are the truth on every node, and the last event of a channel is known to all of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from cluster import ChannelEvent, CountChange, MemberEdge
from tests.sim.nodes import Complain, ModelHub, Phase

PLAIN = "plain"  # a channel without members, count and cache: nothing but the fence is waited for
TTL = 1000.0  # longer than a run


@dataclass(eq=False, repr=False, slots=True)
class Subscription:
    """One subscription, as its client sees it."""

    node: str
    app: str
    channel: str
    user: str
    complain: Complain
    on_confirmed: "Callable[[Subscription], None]"
    phase: Phase = Phase.WAITING
    members: set[str] = field(default_factory=set)
    count: int = 0
    replayed: bytes | None = None
    received: Counter[bytes] = field(default_factory=Counter)  # what came later
    closed_at: float = float("inf")

    def follow(self, edge: MemberEdge) -> None:
        """A member joined or left: it must be a change."""
        if (edge.user in self.members) is edge.joined:
            self.complain(f"{self} hears that {edge.user} {'joined' if edge.joined else 'left'}, twice in a row")
        (self.members.add if edge.joined else self.members.discard)(edge.user)

    def recount(self, change: CountChange) -> None:
        """The count changed."""
        if change.before != self.count:
            self.complain(f"{self} counted {self.count}, and hears of a change from {change.before} to {change.after}")
        self.count = change.after

    def receive(self, frame: bytes) -> None:
        """An event arrived."""
        self.received[frame] += 1
        if self.received[frame] > 1:
            self.complain(f"{self} received {frame!r} again")

    def __str__(self) -> str:
        return f"{self.user} in {self.app}/{self.channel}@{self.node}"


class RoomHub(ModelHub):
    """The smallest correct hub with channels, each of them with members, counts and a cached event."""

    def __init__(self) -> None:
        super().__init__()
        self._subscriptions: list[Subscription] = []

    def subscribe(self, subscription: Subscription) -> None:
        """A client subscribes."""
        member, at = self._member, (subscription.app, subscription.channel)
        self._subscriptions.append(subscription)
        member.hold_channel(*at)
        member.watch(self._shards(*at))
        member.confirm_channel(*at, self._shards(*at), lambda confirmed: self._settle_room(subscription, confirmed))

    def _shards(self, app: str, channel: str) -> list[str]:
        if channel == PLAIN:
            return []
        return [self._member.member_shard(app, channel), self._member.count_shard(app, channel)]

    def _settle_room(self, subscription: Subscription, confirmed: bool) -> None:
        if subscription.phase is not Phase.WAITING:
            self._let_go(subscription)
        elif not confirmed:
            subscription.phase = Phase.REFUSED
            self._subscriptions.remove(subscription)
            self._let_go(subscription)
        elif subscription.channel == PLAIN:
            subscription.phase = Phase.CONFIRMED
            subscription.on_confirmed(subscription)
        else:
            self._member.recall(subscription.app, subscription.channel, lambda frame, _: self._enter(subscription, frame))

    def _let_go(self, subscription: Subscription) -> None:
        self._member.unwatch(self._shards(subscription.app, subscription.channel))
        self._member.release_channel(subscription.app, subscription.channel, 0.5)

    def _enter(self, subscription: Subscription, frame: bytes | None) -> None:
        if subscription.phase is not Phase.WAITING:
            self._let_go(subscription)
            return
        member, at = self._member, (subscription.app, subscription.channel)
        member.join_member(*at, subscription.user, subscription.node)
        member.set_count(*at, len(self._in(*at)) + 1)
        subscription.members, subscription.count = set(member.members(*at)), member.count_of(*at)
        subscription.phase, subscription.replayed = Phase.CONFIRMED, frame
        subscription.on_confirmed(subscription)

    def _in(self, app: str, channel: str) -> list[Subscription]:
        return [s for s in self._subscriptions if (s.app, s.channel) == (app, channel) and s.phase is Phase.CONFIRMED]

    def unsubscribe(self, subscription: Subscription, linger: float) -> None:
        """A client unsubscribes (`linger` is 0), or closes its connection."""
        if subscription not in self._subscriptions:
            return
        was_confirmed = subscription.phase is Phase.CONFIRMED
        subscription.phase, subscription.closed_at = Phase.CLOSED, trio.current_time()
        self._subscriptions.remove(subscription)
        if was_confirmed:  # else what is held is let go of when the confirmation comes
            app, channel = subscription.app, subscription.channel
            if channel != PLAIN:
                self._member.set_count(app, channel, len(self._in(app, channel)))
                self._member.leave_member(app, channel, subscription.user, linger)
            self._let_go(subscription)

    def publish(self, event: ChannelEvent, done: Callable[[bool], None]) -> None:
        """A backend publishes to a channel."""

        def deliver(carried: bool) -> None:
            if carried:
                self.receive_channel_event(event)
            done(carried)

        self._member.send_events([event], deliver)

    # -- what the member tells ------------------------------------------------------------------------------------

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """See `Listener`."""
        subscriptions = self._in(event.app, event.channel)
        for subscription in subscriptions:
            subscription.receive(event.frame)
        return bool(subscriptions)

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `Listener`."""
        for edge in edges:
            for subscription in self._in(edge.app, edge.channel):
                subscription.follow(edge)

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `Listener`."""
        for change in changes:
            for subscription in self._in(change.app, change.channel):
                subscription.recount(change)
