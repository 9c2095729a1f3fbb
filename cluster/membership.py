"""Which nodes live. Pure: heartbeats, answers to probes and the time come in; what happened comes out.

A node draws its id anew at every start, so an id is one incarnation: a node that restarts is a new peer, and the old one
is found dead. Theory of operation:

- A peer that is silent for `probe_after` is probed on its own subject, every `probe_interval`. "No responders" says that
  nobody holds that subject any more; two in a row prove it gone. (One could be a peer that is just moving to another NATS
  server.) For `settle` seconds after the bus came up, that holds only for peers that were heard since: others may still be
  on their way back to it.
- A peer that holds its subject but does not answer is slow, not dead, until it has been silent for `lease`.
- If this node itself slept (its `poll` came late), silence proves nothing: all peers get their time again.
- A gap in the numbers of a peer's heartbeats means that changes may be lost too: the peer counts as met anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.envelope import Heartbeat


@dataclass(frozen=True, slots=True)
class MembershipSettings:
    """All in seconds."""

    probe_after: float = 2.0  # pusher-js comes back a second after a crash: its users are elsewhere before the proof
    probe_interval: float = 0.4
    lease: float = 10.0
    settle: float = 4.0
    sleep: float = 2.0  # between two polls: this node did not run


@dataclass(frozen=True, slots=True)
class Met:
    """A peer was heard for the first time, again after its death, or after a gap: ask it for everything watched.

    `again`: it lived before, so it may have missed what this node said to it.
    """

    node: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A peer is gone; `silent` seconds have passed since it was last heard."""

    node: str
    silent: float
    why: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Send this peer a ping, and report the answer or its absence."""

    node: str


@dataclass(frozen=True, slots=True)
class Load:
    """What a live node carries, as its last heartbeat said. `age`: seconds that it has lived."""

    connections: int
    age: float
    takes_clients: bool = True


@dataclass(slots=True)
class Peer:
    """What is known of a live peer."""

    server: str
    heard_at: float
    number: int
    connections: int = 0
    users: int = 0
    apps: Mapping[str, int] = field(default_factory=dict)
    takes_clients: bool = True
    probed_at: float = float("-inf")
    strikes: int = 0  # "no responders" in a row
    is_back: bool = True  # heard since the bus came up last


class Membership:
    """The peers of one node."""

    def __init__(self, settings: MembershipSettings) -> None:
        self._settings = settings
        self._settled_at = float("inf")  # from when on "no responders" is a proof; inf while the bus is away
        self._polled_at: float | None = None
        self.peers: dict[str, Peer] = {}

    def servers(self) -> dict[str, list[str]]:
        """The live peers by the NATS server that carries them."""
        found: dict[str, list[str]] = {}
        for node, peer in self.peers.items():
            found.setdefault(peer.server, []).append(node)
        return found

    def bus_up(self, now: float) -> None:
        """The bus carries us (again): peers may still be on their way back to it, so their silence starts now."""
        self._settled_at = now + self._settings.settle
        self._forgive(now)
        for peer in self.peers.values():
            peer.is_back = False

    def bus_down(self) -> None:
        """The bus is away: silence proves nothing."""
        self._settled_at = float("inf")

    def heard(self, beat: Heartbeat, now: float) -> list[Met | Lost]:
        """A heartbeat arrived."""
        peer = self.peers.get(beat.node)
        if beat.leaving:
            return [self._lose(beat.node, now, "left")] if peer else []
        if peer is None:
            self.peers[beat.node] = peer = Peer(beat.server, now, beat.number)
            met: list[Met | Lost] = [Met(beat.node, again=beat.number > 1)]
        else:
            met = [Met(beat.node, again=True)] if beat.number > peer.number + 1 else []
        peer.server, peer.heard_at, peer.strikes, peer.is_back = beat.server, now, 0, True
        peer.number = max(peer.number, beat.number)
        peer.connections, peer.users, peer.apps = beat.connections, beat.users, beat.apps
        peer.takes_clients = beat.takes_clients
        return met

    def answered(self, node: str, now: float) -> None:
        """A probe was answered: the peer lives, even if its heartbeats do not get through."""
        if (peer := self.peers.get(node)) is not None:
            peer.heard_at, peer.strikes, peer.is_back = now, 0, True

    def unanswerable(self, node: str, now: float) -> list[Lost]:
        """A probe met "no responders"."""
        peer = self.peers.get(node)
        if peer is None or self._settled_at == float("inf") or (now < self._settled_at and not peer.is_back):
            return []
        peer.strikes += 1
        return [self._lose(node, now, "no responders")] if peer.strikes > 1 else []

    def poll(self, now: float) -> list[Probe | Lost]:
        """What is due."""
        slept = self._polled_at is not None and now - self._polled_at > self._settings.sleep
        self._polled_at = now
        if slept:
            self._forgive(now)
        if self._settled_at == float("inf"):
            return []
        due: list[Probe | Lost] = []
        for node, peer in list(self.peers.items()):
            silent = now - peer.heard_at
            if silent >= self._settings.lease:
                due.append(self._lose(node, now, "lease ended"))
            elif silent >= self._settings.probe_after and now - peer.probed_at >= self._settings.probe_interval:
                peer.probed_at = now
                due.append(Probe(node))
        return due

    def _forgive(self, now: float) -> None:
        for peer in self.peers.values():
            peer.heard_at, peer.strikes = now, 0

    def _lose(self, node: str, now: float, why: str) -> Lost:
        return Lost(node, now - self.peers.pop(node).heard_at, why)
