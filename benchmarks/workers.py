"""Load clients in processes of their own, called from here: the server must be what is slow, not its clients.

A `Worker` holds one object in its process; `call` runs one of its methods there, `begin` and `finish` let several run at
the same time. What goes wrong there is raised here. A `Fleet` is a number of connections, spread over workers.
"""

import multiprocessing
import os
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import wire
from benchmarks.client import Swarm
from benchmarks.sockets import LoadError
from benchmarks.wire import Address, App

_START = multiprocessing.get_context("spawn")
_STOP_TIMEOUT = 10.0


class Worker:
    """An object in a process of its own. `close` it."""

    def __init__(self, make: Callable[..., object], *args: object) -> None:
        self._pipe, theirs = _START.Pipe()
        self._process = _START.Process(target=_serve, args=(theirs, make, args), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, method: str, *args: object) -> None:
        """Start a method; `finish` must follow."""
        self._pipe.send((method, args))

    def finish(self) -> Any:
        """What the method returned. Raises `LoadError` with what it raised."""
        try:
            error, value = self._pipe.recv()
        except EOFError:
            raise LoadError("a load client died") from None
        if error:
            raise LoadError(error)
        return value

    def call(self, method: str, *args: object) -> Any:
        """Run a method to its end."""
        self.begin(method, *args)
        return self.finish()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(_STOP_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection, make: Callable[..., object], args: Sequence[object]) -> None:
    """The process: make the object, then do as told until the pipe closes."""
    made = make(*args)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            method, arguments = pipe.recv()
            pipe.send(_attempt(getattr(made, method), arguments))
    os._exit(0)  # thousands of sockets close faster without a garbage collection each


def _attempt(call: Callable[..., object], arguments: Sequence[object]) -> tuple[str, object]:
    """What is wrong, empty if nothing is, and what was returned."""
    try:
        return "", call(*arguments)
    except LoadError as error:
        return str(error), None
    except Exception:  # noqa: BLE001 - it is raised again over there
        return traceback.format_exc(), None


class Fleet:
    """Connections in the order of their opening, each signed in as one user at most, spread over worker processes."""

    def __init__(self, app: App, workers: int, make: Callable[[App], Swarm] = Swarm) -> None:
        self._workers = [Worker(make, app) for _ in range(workers)]
        self._counts = [0] * workers
        self._firsts = [0] * workers  # of the newest connections, in each worker
        self._owners: dict[str, int] = {}  # the worker of each user
        self.size = 0

    def close(self) -> None:
        """End all processes, and with them the connections."""
        for worker in self._workers:
            worker.close()

    def connect(self, address: Address, count: int, others: Sequence[Address] = ()) -> None:
        """Open connections, to all addresses in turn. `prepare_*` are about these newest ones until more are opened."""
        shares = _split(count, len(self._workers))
        self._firsts = list(self._counts)
        self._counts = [before + share for before, share in zip(self._counts, shares, strict=True)]
        self.size += count
        self._all("connect", *((address, share, others) for share in shares))

    def prepare_sign_in(self, users: Sequence[str], watchlists: Sequence[Sequence[str]] = ()) -> None:
        """One user for each of the newest connections."""
        parts = self._parts(users)
        for worker, part in enumerate(parts):
            self._owners.update(dict.fromkeys(part, worker))
        self._all("prepare_sign_in", *zip(self._firsts, parts, self._parts(watchlists), strict=True))

    def prepare_subscribe(self, channels: Sequence[str]) -> None:
        """One channel for each of the newest connections."""
        self._all("prepare_subscribe", *zip(self._firsts, self._parts(channels), strict=True))

    def prepare_ping(self) -> None:
        """All connections."""
        self._all("prepare_ping", *((0, count) for count in self._counts))

    def exchange(self, answer: bytes, rounds: int = 1) -> None:
        """Send what was prepared and wait for the answers, all workers at once."""
        self._all("exchange", *((answer, rounds) for _ in self._workers))

    def begin_receive(self, users: Sequence[str]) -> None:
        """Start waiting for an event to each of these users, who have one connection each. `finish_receive` must follow."""
        counts = Counter(self._owners[user] for user in users)
        for number, worker in enumerate(self._workers):
            worker.begin("receive", wire.EVENT, counts[number])

    def begin_receive_by_all(self) -> None:
        """Start waiting for one event to each of the newest connections. `finish_receive` must follow."""
        for worker, count, first in zip(self._workers, self._counts, self._firsts, strict=True):
            worker.begin("receive", wire.EVENT, count - first)

    def begin_receive_by_channel(self, channel: str, events: int) -> None:
        """The same for so many events to each connection that subscribed to this channel last, whenever it was opened."""
        for worker in self._workers:
            worker.begin("receive_by_channel", channel, wire.EVENT, events)

    def begin_receive_numbered(self, users: Sequence[str]) -> None:
        """The same for numbered events to these users, who have one connection each. `finish_numbered` must follow."""
        counts = Counter(self._owners[user] for user in users)
        for number, worker in enumerate(self._workers):
            worker.begin("receive_numbered", counts[number])

    def finish_numbered(self) -> dict[int, float]:
        """All have come: when, by their numbers."""
        return {number: at for worker in self._workers for number, at in worker.finish()}

    def begin_receive_closes(self) -> None:
        """Start waiting until the server has closed every connection. `finish_closes` must follow."""
        for worker, count in zip(self._workers, self._counts, strict=True):
            worker.begin("receive_closes", count)

    def finish_closes(self) -> list[tuple[str, float]]:
        """All are closed: the user and the time of each."""
        return [close for worker in self._workers for close in worker.finish()]

    def all(self, method: str, *args: object) -> list[Any]:
        """Run a method with the same arguments in every worker at once; what each returned."""
        return self._all(method, *(args for _ in self._workers))

    def finish_receive(self) -> list[float]:
        """All have come; when, in each worker."""
        return [worker.finish() for worker in self._workers]

    def _parts(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        parts, start = [], 0
        for share in _split(len(items), len(self._workers)):
            parts.append(items[start : start + share])
            start += share
        return parts

    def _all(self, method: str, *args: tuple[object, ...]) -> list[Any]:
        for worker, arguments in zip(self._workers, args, strict=True):
            worker.begin(method, *arguments)
        return [worker.finish() for worker in self._workers]


def _split(count: int, parts: int) -> list[int]:
    """Shares as equal as can be."""
    return [count // parts + (part < count % parts) for part in range(parts)]
