"""Who watches whom on this node, and what watchers are told (protocol.md 4).

Changes that happen together travel in one frame: edges gather for `batch_interval`, then each is noted at the connections
that watch its user, then every noted connection gets one frame. Edges that cancel out in between are not told, so what each
connection hears still alternates and ends in the truth.

A node that dies with its users, or a storm of sign-ins, brings edges by the thousand, each for a hundred watchers. So noting
and telling go slice by slice, and others run in between. Edges are numbered: a connection that began to watch after an edge
knows of it from its first frame already, and is not told again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf

import trio

from cluster import UserEdge
from node.connection import Connection
from node.metrics import Metrics
from node.multimap import Multimap
from node.protocol.frames import encode_watchlist_events

_SLICE = 200  # connections told before others may run: 1 ms
_NOTES = 2000  # notes made before others may run: 1 ms
_FLAP_WINDOW = 5.0  # seconds


class Watchers:
    """The watching connections by watched user."""

    def __init__(self, metrics: Metrics, batch_interval: float) -> None:
        self._metrics = metrics
        self._batch_interval = batch_interval
        self._watchers: Multimap[tuple[str, str], Connection] = Multimap()
        self._edges: deque[UserEdge] = deque()  # not noted yet; the first one has the number `_first`
        self._first = 0
        self._noted: deque[Connection] = deque()  # connections whose `edges` is not None, in order
        self._has_edges = trio.Event()
        self._offline_since: deque[tuple[float, float]] = deque()  # of edges not told yet: noted at, age then
        self._offline_at: dict[tuple[str, str], float] = {}  # users gone within the flap window

    def add(self, connection: Connection, watchlist: Sequence[str], is_online: Callable[[str], bool]) -> bytes:
        """Let a connection watch, from the state that `is_online` tells. Returns its first frame.

        The list is not empty; offline and online ids keep its order.
        """
        app = connection.app.id
        connection.watches_from = self._first + len(self._edges)
        for user in watchlist:
            self._watchers.add((app, user), connection)
        self._metrics.of_app(app).watch_edges.inc(len(watchlist))
        online = [user for user in watchlist if is_online(user)]
        up = set(online)
        return self._encode([user for user in watchlist if user not in up], online)

    def remove(self, connection: Connection, watchlist: Sequence[str]) -> None:
        """Let a connection that watches do so no more; `watchlist` is what it was added with."""
        app = connection.app.id
        connection.watches_from = inf
        for user in watchlist:
            self._watchers.discard((app, user), connection)
        self._metrics.of_app(app).watch_edges.dec(len(watchlist))
        if connection.edges is not None:
            connection.edges = {}

    def has(self, connection: Connection) -> bool:
        """Whether a connection watches: it was told the state of its watchlist, and hears of changes."""
        return connection.watches_from < inf

    def note(self, edges: Iterable[UserEdge], now: float) -> None:
        """Users came or went: remember it for everyone here who watches them."""
        for edge in edges:
            if self._watchers.get((edge.app, edge.user)):
                self._count(edge, now)
                self._edges.append(edge)
        if self._edges:
            self._has_edges.set()

    async def _note_all(self) -> None:
        """Note the edges that are there, in order, at the connections that watched when each was noted first."""
        notes = 0
        for _ in range(len(self._edges)):
            edge, number = self._edges.popleft(), self._first
            self._first += 1
            for connection in self._watchers.get((edge.app, edge.user)):
                notes += 1
                if connection.watches_from <= number:
                    self._note(connection, edge.user, edge.online)
            if notes >= _NOTES:
                notes = 0
                await trio.lowlevel.checkpoint()

    def _note(self, connection: Connection, user: str, online: bool) -> None:
        edges = connection.edges
        if edges is None:
            edges = connection.edges = {}
            self._noted.append(connection)
        if edges.get(user) is (not online):
            del edges[user]
        else:
            edges[user] = online

    def _count(self, edge: UserEdge, now: float) -> None:
        key = (edge.app, edge.user)
        if not edge.online:
            self._offline_since.append((now, edge.age))
            self._offline_at[key] = now
        elif now - self._offline_at.pop(key, -_FLAP_WINDOW) < _FLAP_WINDOW:
            self._metrics.presence_flaps.inc()

    async def run(self) -> None:
        """Tell what was noted, `batch_interval` after the first note; until cancelled."""
        while True:
            await self._has_edges.wait()
            self._has_edges = trio.Event()
            await trio.sleep(self._batch_interval)
            offline = len(self._offline_since)
            await self._note_all()
            await self._tell_all()
            self._observe(offline)
            horizon = trio.current_time() - _FLAP_WINDOW
            self._offline_at = {key: at for key, at in self._offline_at.items() if at > horizon}

    async def _tell_all(self) -> None:
        due = len(self._noted)
        frames: dict[tuple[tuple[str, bool], ...], bytes] = {}  # encoded once for all who are told the same
        while due:
            for _ in range(min(due, _SLICE)):
                self._tell(self._noted.popleft(), frames)
            due -= min(due, _SLICE)
            await trio.lowlevel.checkpoint()

    def _observe(self, offline: int) -> None:
        now = trio.current_time()
        for _ in range(offline):
            noted_at, age = self._offline_since.popleft()
            self._metrics.offline_seconds.observe(age + now - noted_at)

    def _tell(self, connection: Connection, frames: dict[tuple[tuple[str, bool], ...], bytes]) -> None:
        edges, connection.edges = connection.edges, None
        if not edges or connection.is_closed:
            return
        told = tuple(edges.items())
        frame = frames.get(told)
        if frame is None:
            frame = frames[told] = self._encode(
                [user for user, online in told if not online], [user for user, online in told if online]
            )
        else:
            self._count_events(any(not online for _, online in told), any(online for _, online in told))
        connection.transport.offer(frame)

    def _encode(self, offline: Sequence[str], online: Sequence[str]) -> bytes:
        self._count_events(bool(offline), bool(online))
        return encode_watchlist_events(offline, online)

    def _count_events(self, offline: bool, online: bool) -> None:
        if offline:
            self._metrics.watchlist_events.labels("offline").inc()
        if online:
            self._metrics.watchlist_events.labels("online").inc()
