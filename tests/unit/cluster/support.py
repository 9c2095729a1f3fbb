"""What the cluster's unit tests share: members on one in-process broker, and buses that fail on demand."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from cluster import BusAwayError, ChannelEvent, ClusterSettings, CountChange, LocalBus, Member, MemberEdge, UserEdge
from cluster.bus import Handler, Watcher
from cluster.local_bus import Broker
from tests.sim.nodes import Counts, NoChannels

APP = "app"
SETTINGS = ClusterSettings(shards=4, presence_linger=0.5)
READY = 2.0  # seconds after which members that start together know each other


class TestBus(LocalBus):
    """A bus on a server of its own, which can go away, come back, and keep what is sent to itself."""

    __test__ = False

    def __init__(self, broker: Broker, server: str) -> None:
        super().__init__(broker)
        self.server = server
        self.sent: list[tuple[str, bytes]] = []
        self.drops: Callable[[str, bytes], bool] = lambda _subject, _payload: False
        self._broker = broker
        self._watcher: Watcher | None = None
        self._handlers: dict[int, tuple[str, Handler]] = {}

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Bus.publish`."""
        if not self.connected:
            raise BusAwayError("away")
        self.sent.append((subject, payload))
        if not self.drops(subject, payload):
            super().publish(subject, payload, reply)

    def subscribe(self, subject: str, handler: Handler) -> int:
        """See `Bus.subscribe`."""
        number = super().subscribe(subject, handler)
        self._handlers[number] = (subject, handler)
        if not self.connected:
            self._broker.remove(self, number, subject)
        return number

    def unsubscribe(self, number: int) -> None:
        """See `Bus.unsubscribe`."""
        self._handlers.pop(number, None)
        super().unsubscribe(number)

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """See `Bus.when_flushed`."""
        done(self.connected)

    async def run(self, watcher: Watcher, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Bus.run`."""
        self._watcher = watcher
        await super().run(watcher, task_status=task_status)

    def go_away(self) -> None:
        """Lose the server."""
        self.connected = False
        for number, (subject, _) in self._handlers.items():
            self._broker.remove(self, number, subject)
        assert self._watcher is not None
        self._watcher.bus_down()

    def come_back(self) -> None:
        """Find it again."""
        self.connected = True
        for number, (subject, handler) in self._handlers.items():
            self._broker.add(self, number, subject, handler)
        assert self._watcher is not None
        self._watcher.bus_up()

    def fall_silent(self) -> None:
        """Hear and say nothing any more, and yet keep every interest, as a stopped process does."""
        self.drops = lambda _subject, _payload: True
        for number, (subject, _) in self._handlers.items():
            self._broker.add(self, number, subject, lambda _subject, _payload, _reply: None)


class Peer(NoChannels):
    """A member and its listener: users with a number of connections each."""

    def __init__(self, broker: Broker, name: str, settings: ClusterSettings = SETTINGS) -> None:
        self.bus = TestBus(broker, name)
        self.counts = Counts()
        self.connections: Counter[str] = Counter()
        self.events: list[bytes] = []
        self.channel_events: list[bytes] = []
        self.members: list[tuple[str, str, str, bool]] = []  # channel, user, info, joined
        self.count_changes: list[tuple[str, int, int]] = []
        self.edges: list[tuple[str, bool]] = []
        self.results: list[bool] = []
        self.member = Member(self.bus, settings, self, self.counts)
        self.life = trio.CancelScope()

    async def run(self) -> None:
        """Live until `life` is cancelled."""
        with self.life:
            await self.member.run()

    def claim(self, user: str, *watched: str) -> None:
        """Begin to sign a connection in; `results` gets what comes of it, and the user is announced."""
        shards = self.member.shards_of(APP, watched)
        self.member.hold(APP, user)
        self.member.watch(shards)
        self.member.confirm(APP, user, shards, lambda confirmed: self._settle(user, confirmed))

    def _settle(self, user: str, confirmed: bool) -> None:
        self.results.append(confirmed)
        if confirmed:
            self.connections[user] += 1
            self.member.announce(APP, user)

    def release(self, user: str) -> None:
        """Sign a connection out."""
        self.connections[user] -= 1
        self.member.release(APP, user)

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """See `Listener`."""
        del app, except_socket_id
        self.events.append(frame)
        return bool(self.connections[user])

    def subscribe(self, channel: str) -> None:
        """Begin a subscription; `results` gets what comes of it."""
        self.member.hold_channel(APP, channel)
        self.member.confirm_channel(APP, channel, (), self.results.append)

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """See `Listener`."""
        self.channel_events.append(event.frame)
        return True

    def terminate(self, app: str, user: str) -> int:
        """See `Listener`."""
        del app
        closed = self.connections[user]
        for _ in range(closed):
            self.release(user)
        return closed

    def count(self, app: str, user: str) -> int:
        """See `Listener`."""
        del app
        return self.connections[user]

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `Listener`."""
        self.edges += [(edge.user, edge.online) for edge in edges]

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `Listener`."""
        self.members += [(edge.channel, edge.user, edge.info, edge.joined) for edge in edges]

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `Listener`."""
        self.count_changes += [(change.channel, change.before, change.after) for change in changes]


@asynccontextmanager
async def peers(number: int, settings: ClusterSettings = SETTINGS) -> AsyncIterator[list[Peer]]:
    """Members that know each other, each on a server of its own."""
    broker = Broker()
    cluster = [Peer(broker, f"server {index}", settings) for index in range(number)]
    async with trio.open_nursery() as nursery:
        for peer in cluster:
            nursery.start_soon(peer.run)
        await trio.sleep(READY)
        yield cluster
        nursery.cancel_scope.cancel()
