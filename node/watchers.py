"""Who watches whom on this node, and what watchers are told (protocol.md 4).

Changes that happen together travel in one frame: an edge is noted at each watching connection, and after
`batch_interval` every noted connection gets one frame. Two edges that cancel out within the interval are not told, so
what each connection hears still alternates and ends in the truth.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import trio

from cluster import UserEdge
from node.connection import Connection
from node.metrics import Metrics
from node.multimap import Multimap
from node.protocol.frames import encode_watchlist_events

_SLICE = 200  # connections told before others may run
_FLAP_WINDOW = 5.0  # seconds


class Watchers:
    """The watching connections by watched user."""

    def __init__(self, metrics: Metrics, batch_interval: float) -> None:
        self._metrics = metrics
        self._batch_interval = batch_interval
        self._watchers: Multimap[tuple[str, str], Connection] = Multimap()
        self._noted: deque[Connection] = deque()  # connections whose `edges` is not None, in order
        self._has_noted = trio.Event()
        self._offline_since: deque[tuple[float, float]] = deque()  # of edges not told yet: noted at, age then
        self._offline_at: dict[tuple[str, str], float] = {}  # users gone within the flap window

    def add(self, connection: Connection, watchlist: Sequence[str], is_online: Callable[[str], bool]) -> bytes:
        """Let a connection watch, from the state that `is_online` tells. Returns its first frame.

        The list is not empty; offline and online ids keep its order.
        """
        app = connection.app.id
        for user in watchlist:
            self._watchers.add((app, user), connection)
        self._metrics.of_app(app).watch_edges.inc(len(watchlist))
        online = [user for user in watchlist if is_online(user)]
        up = set(online)
        return self._encode([user for user in watchlist if user not in up], online)

    def remove(self, connection: Connection, watchlist: Sequence[str]) -> None:
        """Let a connection watch no more; `watchlist` is what it was added with."""
        app = connection.app.id
        for user in watchlist:
            self._watchers.discard((app, user), connection)
        self._metrics.of_app(app).watch_edges.dec(len(watchlist))
        if connection.edges is not None:
            connection.edges = {}

    def note(self, edges: Iterable[UserEdge], now: float) -> None:
        """Users came or went: remember it for everyone here who watches them."""
        for edge in edges:
            watching = self._watchers.get((edge.app, edge.user))
            if not watching:
                continue
            self._count(edge, now)
            for connection in watching:
                self._note_one(connection, edge.user, edge.online)
        if self._noted:
            self._has_noted.set()

    def _note_one(self, connection: Connection, user: str, online: bool) -> None:
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
            await self._has_noted.wait()
            self._has_noted = trio.Event()
            await trio.sleep(self._batch_interval)
            await self._flush()
            horizon = trio.current_time() - _FLAP_WINDOW
            self._offline_at = {key: at for key, at in self._offline_at.items() if at > horizon}

    async def _flush(self) -> None:
        due, offline = len(self._noted), len(self._offline_since)
        frames: dict[tuple[tuple[str, bool], ...], bytes] = {}  # encoded once for all who are told the same
        while due:
            for _ in range(min(due, _SLICE)):
                self._tell(self._noted.popleft(), frames)
            due -= min(due, _SLICE)
            await trio.lowlevel.checkpoint()
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
