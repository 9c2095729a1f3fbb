"""A simulated NATS cluster: servers joined by routes, nodes attached to servers, every hop with its own delay.

What it keeps of the real thing: one connection and one route deliver in order, whatever the subjects; interest travels
the same way as messages, hop by hop, so other servers learn of it late; a server forwards only what somebody behind a route
wants; a flush confirms the own server only; "no responders"; no echo to the publishing connection. What it adds: delays from
a seed, loss, cut and stalled routes, dying nodes, nodes that move to another server. Rule for editing: all randomness
comes from the `random` that is given, so that a run can be replayed.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tests.sim.bus import SimBus

Action = Callable[[], None]


def matching(subject: str) -> tuple[str, str]:
    """The patterns that hear a subject: itself, and its siblings' wildcard."""
    return subject, subject.rpartition(".")[0] + ".*"


@dataclass(frozen=True, slots=True)
class Delays:
    """Of one hop, in seconds: up to `usual`; with probability `spikes` up to `spike`. `loss`: probability that it loses."""

    usual: float = 0.002
    spike: float = 0.0
    spikes: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """What a client published. `origin`: the connection that does not hear it."""

    origin: "Connection"
    subject: str
    payload: bytes | None
    reply: str


class Network:
    """All servers and links, and the clockwork that moves things along them. `run` it beside the nodes."""

    def __init__(self, servers: int, random: Random, delays: Delays) -> None:
        self.random = random
        self.delays = delays
        self.servers = [Server(self, f"s{number}") for number in range(servers)]
        for server in self.servers:
            server.open_routes(self.servers)
        self.delivered: Callable[[SimBus, str], None] = lambda _bus, _subject: None
        self._agenda: list[tuple[float, int, Action]] = []
        self._order = 0
        self._wake = trio.Event()

    def delay(self) -> float:
        """How long one hop takes this time."""
        delays = self.delays
        spiked = delays.spikes and self.random.random() < delays.spikes
        return self.random.uniform(0, delays.spike if spiked else delays.usual)

    def is_lost(self) -> bool:
        """Whether this hop loses a message."""
        return bool(self.delays.loss) and self.random.random() < self.delays.loss

    def at(self, due: float, action: Action) -> None:
        """Do something later; things due at once happen in the order in which they were put here."""
        self._order += 1
        heapq.heappush(self._agenda, (due, self._order, action))
        self._wake.set()

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            self._wake = trio.Event()
            until = self._agenda[0][0] if self._agenda else float("inf")
            with trio.move_on_at(until):
                await self._wake.wait()
            while self._agenda and self._agenda[0][0] <= trio.current_time():
                heapq.heappop(self._agenda)[2]()

    def cut(self, one: "Server", other: "Server") -> None:
        """Partition two servers: both notice, forget each other's interest, and drop what is on its way."""
        one.close_route(other)
        other.close_route(one)

    def heal(self, one: "Server", other: "Server") -> None:
        """End a partition: both tell each other all their interest first."""
        one.open_routes([other])
        other.open_routes([one])

    def routes(self) -> Iterator["Link"]:
        """All routes, each way."""
        for server in self.servers:
            yield from server.routes.values()


class Link:
    """One way of one connection or route. It keeps the order, always."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._last = 0.0
        self._open = True
        self._stalled: deque[Action] | None = None

    def send(self, action: Action, *, lossy: bool = False) -> None:
        """Let something arrive at the other end, after all that was sent before it."""
        if not self._open or (lossy and self._network.is_lost()):
            return
        self._last = max(self._last, trio.current_time() + self._network.delay())
        self._network.at(self._last, lambda: self._arrive(action))

    def close(self) -> None:
        """Drop what is on its way, and what is sent later."""
        self._open = False

    def stall(self) -> None:
        """Let nothing arrive for now; nothing is lost."""
        if self._stalled is None:
            self._stalled = deque()

    def resume(self) -> None:
        """End a stall: what has collected arrives now."""
        stalled, self._stalled = self._stalled, None
        for action in stalled or ():
            self._arrive(action)

    def _arrive(self, action: Action) -> None:
        if self._stalled is not None:
            self._stalled.append(action)
        elif self._open:
            action()


class Connection:
    """One life of a bus' attachment to a server; a reconnect is another one."""

    def __init__(self, network: Network, bus: "SimBus", server: "Server") -> None:
        self.bus = bus
        self.server = server
        self.up = Link(network)
        self.down = Link(network)


class Server:
    """One NATS server."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.routes: dict[Server, Link] = {}
        self._network = network
        self._local: dict[str, dict[tuple[Connection, int], None]] = {}
        self._remote: dict[Server, set[str]] = {}

    # -- routes ---------------------------------------------------------------------------------------------------

    def open_routes(self, others: Iterable["Server"]) -> None:
        """Join other servers, this way; the interest of this one goes first."""
        for other in others:
            if other is not self and other not in self.routes:
                self.routes[other] = Link(self._network)
                for pattern in self._local:
                    self._tell_interest(other, pattern, wanted=True)

    def close_route(self, other: "Server") -> None:
        """Part from another server, this way."""
        if other in self.routes:
            self.routes.pop(other).close()
        self._remote.pop(other, None)

    def _tell_interest(self, other: "Server", pattern: str, *, wanted: bool) -> None:
        self.routes[other].send(lambda: other.learn(self, pattern, wanted=wanted))

    def learn(self, other: "Server", pattern: str, *, wanted: bool) -> None:
        """Another server has clients that want the pattern, or none any more."""
        patterns = self._remote.setdefault(other, set())
        (patterns.add if wanted else patterns.discard)(pattern)

    # -- clients --------------------------------------------------------------------------------------------------

    def subscribe(self, client: Connection, number: int, pattern: str) -> None:
        """A client takes interest."""
        clients = self._local.setdefault(pattern, {})
        clients[client, number] = None
        if len(clients) == 1:
            for other in self.routes:
                self._tell_interest(other, pattern, wanted=True)

    def unsubscribe(self, client: Connection, number: int, pattern: str) -> None:
        """A client drops interest."""
        clients = self._local.get(pattern, {})
        clients.pop((client, number), None)
        if pattern in self._local and not clients:
            del self._local[pattern]
            for other in self.routes:
                self._tell_interest(other, pattern, wanted=False)

    def forget(self, client: Connection) -> None:
        """A client is gone."""
        mine = [(n, pattern) for pattern, clients in self._local.items() for c, n in clients if c is client]
        for number, pattern in mine:
            self.unsubscribe(client, number, pattern)

    def patterns(self, bus: "SimBus") -> list[str]:
        """What a bus has interest in here."""
        return [pattern for pattern, clients in self._local.items() for client, _ in clients if client.bus is bus]

    def publish(self, message: Message) -> None:
        """A client's message: to the clients here, and to the servers that want it."""
        wanted = self._deliver(message)
        for other, patterns in self._remote.items():
            if other in self.routes and not patterns.isdisjoint(matching(message.subject)):
                wanted = True
                self._forward(other, message)
        if message.reply and not wanted:
            self._deliver_to(message.origin, Message(message.origin, message.reply, None, ""))

    def _forward(self, other: "Server", message: Message) -> None:
        self.routes[other].send(lambda: other.receive(message), lossy=True)

    def receive(self, message: Message) -> None:
        """A message that came over a route goes to the clients here, never further."""
        self._deliver(message)

    def _deliver(self, message: Message) -> bool:
        heard = False
        for pattern in matching(message.subject):
            for client, number in self._local.get(pattern, {}):
                if client is not message.origin:
                    heard = True
                    self._pass(client, number, message)
        return heard

    def _deliver_to(self, client: Connection, message: Message) -> None:
        for pattern in matching(message.subject):
            for other, number in self._local.get(pattern, {}):
                if other is client:
                    self._pass(client, number, message)

    def _pass(self, client: Connection, number: int, message: Message) -> None:
        client.down.send(lambda: client.bus.receive(number, message), lossy=True)
