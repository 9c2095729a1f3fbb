"""One member of the cluster: the parts, put together and kept running. This is what a node works with.

Synchronous calls change state and send; `run` owns every task. The order of a sign-in: `hold` and `watch` take interests,
`confirm` waits until they are known everywhere, `announce` tells the others; then `confirm` waits for the watched shards.
"""

import contextlib
import secrets
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import trio

from cluster import counts, holders, members, peers
from cluster.bus import Bus, BusAwayError
from cluster.cache import Cache
from cluster.channel_calls import ChannelCalls
from cluster.channels import Channels
from cluster.confirmations import Confirmations
from cluster.core import ClusterSettings, Core, NoStats, Stats
from cluster.counts import Counts
from cluster.edges import PeerLost
from cluster.envelope import (
    Ask,
    ChannelEvent,
    Heartbeat,
    Holding,
    Keep,
    Message,
    Missed,
    Ping,
    Pong,
    Question,
    Recall,
    Snapshot,
    Terminate,
    UserEvent,
)
from cluster.fence import Fence
from cluster.holders import Holders
from cluster.keeper_calls import KeeperCalls
from cluster.keepers import Keepers
from cluster.maps import Maps
from cluster.members import Members
from cluster.membership import Lost, Membership, Met
from cluster.peers import Peers
from cluster.sender import Sender


class Listener(holders.Listener, members.Listener, counts.Listener, peers.Listener, Protocol):
    """The node's side. Nothing in it waits."""

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """Deliver to the channel's subscribers here; False if there are none."""

    def channel_missed(self, app: str, channel: str) -> None:
        """Another node found nothing kept of the channel, and wants this one to tell; see `Member.tell_missed`."""

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """A peer was met, or lost: keepers may be others now."""


class ShardMismatchError(Exception):
    """The cluster runs with another number of shards than this node."""


class Member(ChannelCalls, KeeperCalls):
    """This process as a member of the cluster. `node_id` is drawn anew at each start."""

    def __init__(self, bus: Bus, settings: ClusterSettings, listener: Listener, stats: Stats | None = None) -> None:
        self.node_id = secrets.token_hex(8)
        self._core = Core(self.node_id, bus, settings, stats or NoStats())
        self._listener = listener
        self._membership = Membership(settings.membership)
        self._maps = Maps(self._core)
        self._peers = Peers(self._core, self._membership, listener, self._on_peer)
        self._keepers = Keepers([self.node_id])
        self._fence = Fence(self._core, self._membership)
        self._holders = Holders(self._core, self._maps, listener, self._peers.is_peer)
        self._channels = Channels(self._core, self._on_channel_event)
        self._cache = Cache(self._core, self._keepers, self._channels)
        self._sender = Sender(self._core, self._fence, self._holders, self._channels, self._cache)
        self._members = Members(self._core, self._maps, listener)
        self._counts = Counts(self._core, self._maps, listener)
        self._confirmations = Confirmations(self._core, self._maps, self._fence)
        self._leaving = False
        self._up = trio.Event()
        self.bus_ups = 0
        """How often the bus came up; the first time counts."""

    # -- what a node may ask --------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the bus carries us."""
        return self._core.bus.connected

    @property
    def peers(self) -> int:
        """How many other nodes live."""
        return len(self._membership.peers)

    @property
    def interests(self) -> int:
        """How many interests this node has on the bus: users, channels, shards, and three of its own."""
        return len(self._holders) + len(self._channels) + self._maps.shards_watched + 3

    @property
    def shards_watched(self) -> int:
        """How many shards of all maps are followed."""
        return self._maps.shards_watched

    @property
    def would_be_missed(self) -> bool:
        """Whether a goodbye now would be noticed: of a user who is held here and nowhere else, or of a lingering member."""
        return self._holders.would_be_missed or self._members.would_be_missed

    def hold(self, app: str, user: str) -> None:
        """A connection here is about to sign in as the user; paired with `release`."""
        self._holders.hold(app, user)

    def release(self, app: str, user: str, linger: float | None = None) -> None:
        """That connection is gone; after the last one, the user goes offline here when the linger ends."""
        settings = self._core.settings
        self._holders.release(app, user, settings.presence_linger if linger is None else linger)

    def shards_of(self, app: str, users: Iterable[str]) -> Collection[str]:
        """The shards that users belong to, each of them once, in the order of the users."""
        return dict.fromkeys(self._holders.shard(app, user) for user in users)

    def watch(self, shards: Iterable[str]) -> None:
        """Follow the shards; paired with `unwatch`."""
        for shard in shards:
            self._maps.watch(shard)
        self._maps.send_asks()

    def unwatch(self, shards: Iterable[str]) -> None:
        """One need less of each shard."""
        for shard in shards:
            self._maps.unwatch(shard)

    def confirm(self, app: str, user: str, shards: Iterable[str], done: Callable[[bool], None]) -> None:
        """Call `done(True)` once the user's interest is known everywhere and the shards are complete; perhaps at once.

        A silent peer delays it by `fence_timeout` at the most, or twice that behind a round that waits for one already.
        The shards stay watched until then. `done(False)`: the bus was away for `confirm_timeout`.
        """
        self._confirmations.confirm(self._holders.interest(app, user), shards, done)

    def announce(self, app: str, user: str) -> None:
        """The user is signed in here, confirmed: tell whoever watches. Idempotent while held."""
        self._holders.announce(app, user)

    def is_online(self, app: str, user: str) -> bool:
        """Whether the user is signed in anywhere; the user's shard is watched."""
        return self._holders.is_online(app, user)

    def send_events(self, events: Iterable[UserEvent | ChannelEvent], done: Callable[[bool], None]) -> None:
        """Carry events to the other holders and subscribers; those who are connected here are the caller's affair.

        `done(True)` when the bus has all of them; `done(False)` if it is away.
        """
        self._sender.send(events, done)

    def connections_elsewhere(self, app: str) -> int:
        """The app's connections on all other nodes, as they said within the last second or so."""
        return self._peers.connections(app)

    async def terminate(self, app: str, user: str) -> int:
        """Close the user's connections on all other nodes; how many. Raises `BusAwayError`."""
        return await self._ask(Terminate(app, user))

    async def count(self, app: str, user: str) -> int:
        """The user's connections on all other nodes. Raises `BusAwayError`."""
        return await self._ask(Question(app, user))

    async def _ask(self, question: Question | Terminate) -> int:
        with trio.move_on_after(self._core.settings.answer_timeout):
            await self._sender.wait()
        return await self._holders.ask(question)

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a member until cancelled; `started` when every live peer must have been heard.

        Raises `ShardMismatchError` if the cluster that is met first uses another number of shards.
        """
        subjects, bus = self._core.subjects, self._core.bus
        receive = self._core.receiver(self._on_message)
        bus.subscribe(subjects.node(self.node_id), receive)
        bus.subscribe(subjects.nodes, receive)
        self._core.listen()
        async with trio.open_nursery() as nursery:
            for task in (
                self._fence.run,
                self._confirmations.run,
                self._maps.answer_asks,
                self._cache.hand_over_always,
                self._tick,
                self._beat,
                self._peers.probe,
            ):
                nursery.start_soon(task)
            nursery.start_soon(bus.run, self)
            await self._up.wait()
            await trio.sleep(self._core.settings.join_wait)
            if self._peers.mismatch:
                raise ShardMismatchError(
                    f"this node has cluster.shards = {self._core.settings.shards}, but its peers do not: "
                    "the number must be equal in the whole cluster"
                )
            task_status.started()

    async def say_goodbye(self) -> None:
        """Tell the peers that this node leaves: they need not find it dead. Returns when the bus has it, or is away.

        What is kept here is brought to others before, for `answer_timeout` / 4 at the most.
        """
        self._leaving = True
        self._choose_keepers()
        with trio.move_on_after(self._core.settings.answer_timeout / 4), contextlib.suppress(BusAwayError):
            await self._cache.hand_over()
        await self._peers.say_goodbye()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(self._core.settings.tick_interval)
            now = trio.current_time()
            self._peers.tick(now)
            self._holders.tick(now)
            for key in self._channels.tick(now):
                self._cache.let_go(key)
            self._members.tick(now)
            self._counts.tick()
            self._cache.tick(now)
            self._maps.tick(now)
            self._confirmations.tick(now)

    async def _beat(self) -> None:
        while True:
            await trio.sleep(self._core.settings.heartbeat_interval)
            self._peers.beat(self._maps.recent_numbers())

    # -- what the bus says ----------------------------------------------------------------------------------------

    def bus_up(self) -> None:
        """See `cluster.bus.Watcher`: what peers said meanwhile was not heard, so ask them all."""
        self.bus_ups += 1
        self._sender.bus_up()
        self._peers.bus_up()
        for peer in self._membership.peers:
            self._maps.peer_up(peer)
        self._fence.wait(self._holders.reintroduce)
        self._cache.nodes_changed()
        self._up.set()

    def bus_down(self) -> None:
        """See `cluster.bus.Watcher`."""
        self._membership.bus_down()
        self._fence.bus_down()
        self._holders.bus_down()
        self._channels.bus_down()
        self._cache.bus_down()

    def _on_message(self, message: Message, reply: str) -> None:
        match message:
            case Heartbeat():
                if self._peers.receive(message):
                    self._maps.receive_numbers(message.node, message.numbers)
                    if message.hello:  # its bus was away, though perhaps not for a whole heartbeat
                        self._cache.nodes_changed(missed=message.node)
            case Ping():
                self._core.try_send(reply, Pong(self.node_id))
            case Ask() | Snapshot():
                self._maps.receive(message)
            case Question() | Terminate():
                self._holders.receive_question(message, reply)
            case Keep() | Recall():
                self._cache.receive(message, reply)
            case Missed(app, channel):
                self._listener.channel_missed(app, channel)
            case Holding():
                self._holders.receive_holding(message)
            case _:
                self._core.stats.unclaimed(message.KIND)

    def _on_channel_event(self, event: ChannelEvent) -> bool:
        if event.ttl:
            self._cache.remember(event)
        return self._listener.receive_channel_event(event)

    def _on_peer(self, event: Met | Lost) -> None:
        lost = None
        match event:
            case Met(node, again):
                self._maps.peer_up(node)
                self._cache.nodes_changed(missed=node)
                if again:
                    self._fence.wait(self._holders.reintroduce)
            case Lost(node, silent, why):
                lost = PeerLost(node, silent, politely=why == "left")
                self._maps.peer_down(node, silent)
                self._holders.peer_down(node)
        self._choose_keepers()
        self._listener.peers_changed(lost)

    def _choose_keepers(self) -> None:
        """Among all nodes that live and stay."""
        me = () if self._leaving else (self.node_id,)
        self._keepers.replace([*self._membership.peers, *me])
        self._cache.nodes_changed()
