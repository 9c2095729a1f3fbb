"""Connections that remember what they were told about the users they watch, so that it can be held against the truth.

Rule for editing: a view is only ever changed by a frame of the server. What a client would show is what is judged.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks import wire
from benchmarks.client import Link, Swarm
from benchmarks.wire import App

_QUIET = 0.02


@dataclass(frozen=True, slots=True)
class Told:
    """What watchers were told since they were last asked: frames and ids, and ids told what was known already."""

    frames: int
    ids: int
    repeated: int


class WatcherSwarm(Swarm):
    """A swarm of which every connection watches users."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._watchlists: dict[int, Sequence[str]] = {}  # by the connection's number
        self._views: dict[int, dict[str, bool]] = {}
        self._frames_told = self._ids_told = self._repeated = 0

    def prepare_sign_in(self, first: int, users: Sequence[str], watchlists: Sequence[Sequence[str]] = ()) -> None:
        """See `Swarm`."""
        super().prepare_sign_in(first, users, watchlists)
        for number, watchlist in enumerate(watchlists, first):
            self._watchlists[number] = watchlist
            self._views[number] = {}

    def leave(self, users: Collection[str]) -> None:
        """Close these users' connections without a word."""
        for number in [number for number in self._views if self._links[number].user in users]:
            self.close(number, 1)
            del self._views[number], self._watchlists[number]

    def listen(self, seconds: float) -> float:
        """Take what comes for so long; the monotonic time of the last message, 0 if none came."""
        end, last = time.monotonic() + seconds, 0.0
        while (left := end - time.monotonic()) > 0:
            for fd, _ in self._epoll.poll(min(left, _QUIET)):
                if self._hear(self._by_fd[fd]):
                    last = time.monotonic()
        return last

    def count_wrong(self, online: Collection[str]) -> int:
        """How many watchers have a view that is not the truth: anything about anybody wrong, or untold."""
        up = set(online)
        return sum(
            self._views[number] != {user: user in up for user in watchlist} for number, watchlist in self._watchlists.items()
        )

    def take_told(self) -> Told:
        """What all were told since the last call."""
        told = Told(self._frames_told, self._ids_told, self._repeated)
        self._frames_told = self._ids_told = self._repeated = 0
        return told

    def _hear(self, link: Link) -> bytes:
        data = link.receive()
        if wire.WATCHLIST in data:
            for opcode, payload in wire.frames_of(data):
                if opcode == wire.TEXT and wire.WATCHLIST in payload:
                    self._learn(self._views[link.number], payload)
        return data

    def _learn(self, view: dict[str, bool], payload: bytes) -> None:
        self._frames_told += 1
        for event in msgspec.json.decode(msgspec.json.decode(payload)["data"])["events"]:
            online, users = event["name"] == "online", event["user_ids"]
            self._ids_told += len(users)
            self._repeated += sum(view.get(user) is online for user in users)
            view.update(dict.fromkeys(users, online))
