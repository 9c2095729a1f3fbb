"""Peers on the bus: heartbeats and probes. What the pure `Membership` decides is done here."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog
import trio

from cluster.bus import BusAwayError, flush
from cluster.core import Core
from cluster.envelope import Heartbeat, Ping
from cluster.membership import Load, Lost, Membership, Met, Probe

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """The node's side. It does not wait."""

    def load(self) -> tuple[int, int, Mapping[str, int], bool]:
        """Connections, signed-in users, connections by app, and whether clients are taken here; for heartbeats."""


class Peers:
    """What this node says of itself, and the question whether the others live."""

    def __init__(self, core: Core, membership: Membership, listener: Listener, tell: Callable[[Met | Lost], None]) -> None:
        """`tell` hears who was met and lost; it does not wait."""
        self._core = core
        self._membership = membership
        self._listener = listener
        self._tell = tell
        self._beats = 0
        self._leaving = False
        self._probes: list[str] = []
        self._has_probes = trio.Event()
        self.mismatch: set[str] = set()
        """Nodes that run with another number of shards."""

    def is_peer(self, node: str) -> bool:
        """Whether the node lives, and is not this one."""
        return node in self._membership.peers

    def connections(self, app: str) -> int:
        """The app's connections on all other nodes, as their last heartbeats said."""
        return sum(peer.apps.get(app, 0) for peer in self._membership.peers.values())

    def ages(self) -> dict[str, float]:
        """Seconds that each live node has lived, this one included, by its heartbeats."""
        beats = {node: peer.number for node, peer in self._membership.peers.items()} | {self._core.me: self._beats}
        return {node: number * self._core.settings.heartbeat_interval for node, number in beats.items()}

    def loads(self) -> dict[str, Load]:
        """What each peer carries."""
        interval = self._core.settings.heartbeat_interval
        return {
            node: Load(peer.connections, peer.number * interval, peer.takes_clients)
            for node, peer in self._membership.peers.items()
        }

    def beat(self, numbers: Mapping[str, int]) -> None:
        """Say that this node lives, and the numbers of its shards that changed lately."""
        self._beats += 1
        self._core.try_send(self._core.subjects.nodes, self._heartbeat(numbers))

    def _heartbeat(self, numbers: Mapping[str, int], *, hello: bool = False) -> Heartbeat:
        settings, server = self._core.settings, self._core.bus.server
        load = self._listener.load()
        return Heartbeat(self._core.me, server, self._beats, settings.shards, numbers, hello, self._leaving, *load)

    async def say_goodbye(self) -> None:
        """Tell the peers that this node leaves: they need not find it dead. Returns when the bus has it, or is away."""
        self._leaving = True  # a heartbeat that said otherwise would be a return
        self._core.try_send(self._core.subjects.nodes, self._heartbeat({}))
        with contextlib.suppress(BusAwayError):
            await flush(self._core.bus)

    def bus_up(self) -> None:
        """The bus carries us: whoever is there may answer."""
        self._membership.bus_up(trio.current_time())
        self._core.try_send(self._core.subjects.nodes, self._heartbeat({}, hello=True))

    def receive(self, beat: Heartbeat) -> bool:
        """A heartbeat arrived; False if it is no peer's."""
        if beat.node == self._core.me:
            return False  # sent to a server that was left since, which passed it on late
        if beat.shards != self._core.settings.shards:
            if beat.node not in self.mismatch:
                self.mismatch.add(beat.node)
                log.error("a node with another number of shards is ignored", node=beat.node, shards=beat.shards)
            return False
        self._heed(self._membership.heard(beat, trio.current_time()))
        if beat.hello:
            self._core.try_send(self._core.subjects.node(beat.node), self._heartbeat({}))
        return True

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._heed(self._membership.poll(now))

    def _heed(self, events: Sequence[Met | Lost | Probe]) -> None:
        for event in events:
            match event:
                case Met(node, again):
                    log.info("peer met", node=node, again=again)
                    self._tell(event)
                case Lost(node, silent, why):
                    log.info("peer lost", node=node, silent=round(silent, 3), why=why)
                    self._tell(event)
                case Probe(node):
                    self._probes.append(node)
                    self._has_probes.set()

    async def probe(self) -> None:
        """Ping whoever has to be, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._has_probes.wait()
                self._has_probes = trio.Event()
                probes, self._probes = self._probes, []
                for node in probes:  # none waits for another: how far apart two probes of a peer are is membership's affair
                    nursery.start_soon(self._probe_one, node)

    async def _probe_one(self, node: str) -> None:
        try:
            answer = await self._core.ask(node, Ping(), self._core.settings.membership.probe_interval)
        except (trio.TooSlowError, BusAwayError):
            return
        now = trio.current_time()
        if answer is None:
            self._heed(self._membership.unanswerable(node, now))
        else:
            self._membership.answered(node, now)
