"""Simulated nodes with real webhooks, whose requests arrive at one receiver, and clients who come and go on them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import trio

from cluster import ClusterSettings, CountChange, Member, MemberEdge, PeerLost, UserEdge
from node.config.apps import App, Apps
from node.config.webhooks import EventName, Webhook, WebhookSettings
from node.metrics import Metrics
from node.webhooks.post import Result
from node.webhooks.service import Webhooks
from tests.sim.bus import SimBus
from tests.sim.network import Network
from tests.sim.nodes import NoChannels

ALL: tuple[EventName, ...] = (
    "cache_miss",
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "user_online",
    "user_offline",
)
APP = App(id="a", key="key", secrets=("secret",), webhooks=(Webhook(url="https://hook.test/", events=ALL),))
SETTINGS = WebhookSettings()
LATENCY = 0.02  # seconds of a request


@dataclass(frozen=True, slots=True)
class Told:
    """An event that arrived. `thing`: what it is about."""

    at: float
    node: str
    begins: bool
    thing: str
    sequence: int = 0


@dataclass(slots=True)
class Backend:
    """Who receives."""

    told: list[Told] = field(default_factory=list)
    is_away: bool = False

    def receive(self, node: str, body: bytes) -> Result:
        """One request."""
        if self.is_away:
            return Result.STATUS
        for event in json.loads(body)["events"]:
            kind, _, change = event["name"].partition("_")
            thing = " ".join(filter(None, (kind, event["channel"], event.get("user_id"))))
            begins = change in {"occupied", "added", "online"}
            self.told.append(Told(trio.current_time(), node, begins, thing, event.get("sequence", 0)))
        return Result.SUCCESS

    def of(self, thing: str) -> list[bool]:
        """What was told of a thing, in the order of arrival."""
        return [told.begins for told in self.told if told.thing == thing]


class _Poster:
    """A node's way to the backend."""

    def __init__(self, node: "Node", backend: Backend) -> None:
        self._node = node
        self._backend = backend

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        """See `Poster`."""
        del url, headers
        await trio.sleep(LATENCY / 2)
        result = self._backend.receive(self._node.name, body)
        await trio.sleep(LATENCY / 2)
        return result

    async def aclose(self) -> None:
        """See `Poster`."""


class Node(NoChannels):
    """A node whose clients are numbers."""

    def __init__(self, name: str, bus: SimBus, backend: Backend, settings: ClusterSettings) -> None:
        self.name = name
        self.bus = bus
        self.member = Member(bus, settings, self)
        self.metrics = Metrics()
        self.webhooks = Webhooks(Apps([APP]), self.metrics, SETTINGS, self.member)
        self.webhooks._make_post = lambda: _Poster(self, backend)
        self.is_alive = False
        self.counts: Counter[str] = Counter()
        self._life = trio.CancelScope()

    async def run(self) -> None:
        """Live, until `die` or `leave`."""
        with self._life:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.member.run)
                nursery.start_soon(self.webhooks.run)
                self.is_alive = True

    def die(self) -> None:
        """End at once."""
        self.is_alive = False
        self.bus.die()
        self._life.cancel()

    async def leave(self) -> None:
        """End as a node does that is told to: its clients first."""
        self.is_alive = False
        for thing in list(self.counts):
            for _ in range(self.counts[thing]):
                self.end(thing)
        await trio.sleep(1.0)
        await self.member.say_goodbye()
        await self.webhooks.close()
        self.die()

    # -- clients --------------------------------------------------------------------------------------------------

    def begin(self, thing: str) -> None:
        """One more client has it: `channel <name>`, `member <channel> <user>` or `user <channel> <user>`."""
        self.counts[thing] += 1
        kind, channel, *user = thing.split()
        match kind:
            case "channel":
                self.member.set_count(APP.id, channel, self.counts[thing])
            case "member":
                self.member.join_member(APP.id, channel, user[0], "{}")
            case _:
                self.member.hold(APP.id, user[0])
                self.member.confirm(APP.id, user[0], [], lambda _: self._announce(thing, user[0]))

    def _announce(self, thing: str, user: str) -> None:
        if self.counts[thing]:
            self.member.announce(APP.id, user)

    def end(self, thing: str) -> None:
        """One client less."""
        self.counts[thing] -= 1
        kind, channel, *user = thing.split()
        match kind:
            case "channel":
                self.member.set_count(APP.id, channel, self.counts[thing])
            case "member":
                self.member.leave_member(APP.id, channel, user[0], 1.0)
            case _:
                self.member.release(APP.id, user[0])

    # -- for the cluster ------------------------------------------------------------------------------------------

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """See `Listener`."""
        del app, user, frame, except_socket_id
        return True

    def terminate(self, app: str, user: str) -> int:
        """See `Listener`."""
        del app, user
        return 0

    def count(self, app: str, user: str) -> int:
        """See `Listener`."""
        del app, user
        return 0

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `Listener`."""
        self.webhooks.user_edges(edges)

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `Listener`."""
        self.webhooks.member_edges(edges)

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `Listener`."""
        self.webhooks.count_edges(changes)

    def channel_missed(self, app: str, channel: str) -> None:
        """See `Listener`."""
        self.webhooks.channel_missed(app, channel)

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """See `Listener`."""
        self.webhooks.peers_changed(lost)


@dataclass(slots=True)
class Cluster:
    """Nodes, a backend, and things that begin and end somewhere."""

    random: Random
    network: Network
    nursery: trio.Nursery
    nodes: list[Node] = field(default_factory=list)
    backend: Backend = field(default_factory=Backend)
    settings: ClusterSettings = field(default_factory=lambda: ClusterSettings(shards=16))
    truth: dict[str, list[bool]] = field(default_factory=dict)

    def add_node(self) -> Node:
        """Start a node."""
        bus = SimBus(self.network, self.network.servers[len(self.nodes) % len(self.network.servers)])
        node = Node(f"n{len(self.nodes)}", bus, self.backend, self.settings)
        self.nodes.append(node)
        self.nursery.start_soon(node.run)
        return node

    @property
    def alive(self) -> list[Node]:
        """The nodes where clients can be."""
        return [node for node in self.nodes if node.is_alive]

    async def flip(self, thing: str, shortest: float, until: float) -> None:
        """Let a thing begin and end for at least `shortest` seconds each time; it is at one node, or moves to another."""
        changes = self.truth.setdefault(thing, [])
        while trio.current_time() < until:
            node = self.random.choice(self.alive)
            node.begin(thing)
            changes.append(True)
            ends = trio.current_time() + self.random.uniform(shortest, 2 * shortest)
            while trio.current_time() < ends:
                await trio.sleep(0.25)
                node = self._keep_alive(thing, node)
            if node.is_alive:
                node.end(thing)
            changes.append(False)
            await trio.sleep(self.random.uniform(shortest, 2 * shortest))

    def _keep_alive(self, thing: str, node: Node) -> Node:
        """The client's node; when it is gone, the client comes back at another."""
        if not node.is_alive:
            node = self.random.choice(self.alive)
            node.begin(thing)
        return node
