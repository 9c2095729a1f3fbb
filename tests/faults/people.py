"""Clients that keep a ledger, and come back as pusher-js does: 4200 at once, others after a second, signed in again."""

import json
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import inf
from typing import Any

import trio

from tests.client import Client, Credentials
from tests.faults.ledger import Heard, Ledger, Received, Stay

_ESTABLISHED_WITHIN = 10.0  # seconds; then pusher-js tries another way
_NOBODY: dict[str, bool] = {}


class Person(Client):
    """One user's connection, and those that follow it."""

    def __init__(
        self, app: Credentials, ports: Sequence[int], user: str, watchlist: Sequence[str], places: Sequence[int]
    ) -> None:
        """The first connection goes to the first of the places, the next to the next, round and round."""
        self._places = places
        super().__init__(app, [ports[place] for place in self._places], comes_back=True)
        self.ledger = Ledger(user, tuple(watchlist))
        self.view_now = _NOBODY
        """What it believes now; empty without a view."""
        self._opened = -1
        self._may_open = trio.Event()
        self._may_open.set()
        self._stay: Stay | None = None
        self._attempt = trio.CancelScope()
        watching = {"watchlist": list(watchlist)} if watchlist else {}
        self._user_data = json.dumps({"id": user, **watching})  # what each connection signs in with

    @property
    def is_there(self) -> bool:
        """Whether it is signed in, and sees whom it watches."""
        return self.signed_in and (bool(self.view_now) or not self.ledger.watchlist)

    @property
    def node(self) -> int | None:
        """To which node it is connected."""
        return self._stay.node if self._stay else None

    def pause(self) -> None:
        """When this connection ends, do not come back until `resume`."""
        self._may_open = trio.Event()

    def resume(self) -> None:
        """Come back, or be free to."""
        self._may_open.set()

    async def leave(self) -> None:
        """Close for good."""
        self._comes_back = False
        self.resume()
        await (self.close() if self._stream is not None else self.drop())

    async def _live(self) -> int | None:
        code = None
        await self._may_open.wait()
        if not self._comes_back:  # it left while it waited
            return None
        try:
            with trio.CancelScope(deadline=trio.current_time() + _ESTABLISHED_WITHIN) as self._attempt:
                code = await super()._live()
        finally:
            if self._stay is not None:
                self._stay.ended_at, self._stay.code = trio.current_time(), code
            self._stay, self.view_now = None, _NOBODY
        return code

    async def _open(self, port: int) -> trio.abc.Stream:
        self._opened += 1
        return await super()._open(port)

    async def _hear(self, message: dict[str, Any]) -> None:
        await super()._hear(message)
        told = self.told.pop()
        match told.event:
            case "pusher:connection_established":
                self._attempt.deadline = inf
                self._stay = Stay(self._places[self._opened % len(self._places)], told.at)
                self.ledger.stays.append(self._stay)
            case "pusher:signin_success" if self._stay:
                self._stay.signed_in_at = told.at
            case "pusher_internal:watchlist_events" if self._stay:
                self._watch(self._stay, told.at, told.data["events"])
            case "numbered" if self._stay:
                self._stay.received.append(Received(told.at, told.data["number"]))

    def _watch(self, stay: Stay, at: float, events: Iterable[dict[str, Any]]) -> None:
        named = {event["name"]: tuple(event["user_ids"]) for event in events}
        heard = Heard(at, named.get("offline", ()), named.get("online", ()))
        stay.heard.append(heard)
        changes = dict.fromkeys(heard.offline, False) | dict.fromkeys(heard.online, True)
        self.view_now = self.view_now | changes


class Crowd:
    """All clients of a run, those that have left included."""

    def __init__(self, app: Credentials, ports: Sequence[int], choices: random.Random) -> None:
        self._app = app
        self._ports = ports
        self._random = choices
        self.everybody: list[Person] = []
        self.here: list[Person] = []

    def add(
        self,
        nursery: trio.Nursery,
        user: str,
        watchlist: Sequence[str] = (),
        first: int | None = None,
        kind: type[Person] = Person,
    ) -> Person:
        """One more client, which connects in the background; to the node `first`, or to any."""
        places = self._random.sample(range(len(self._ports)), len(self._ports))
        if first is not None:
            places.sort(key=lambda place: place != first)
        person = kind(self._app, self._ports, user, watchlist, places)
        self.everybody.append(person)
        self.here.append(person)
        nursery.start_soon(person.run)
        return person

    async def remove(self, person: Person) -> None:
        """This client leaves, for good."""
        self.here.remove(person)
        with trio.move_on_after(5):
            await person.leave()

    @property
    def ledgers(self) -> list[Ledger]:
        """Everything that anybody was told."""
        return [person.ledger for person in self.everybody]

    def disagreements(self, but: Collection[int] = ()) -> Iterator[str]:
        """What keeps the crowd from being settled: who is not there, and who believes what is not so.

        Whoever is connected to one of the nodes in `but` is not asked.
        """
        online = {person.ledger.user for person in self.here if person.signed_in}
        for person in self.here:
            if person.node in but:
                continue
            if not person.is_there:
                yield f"{person.ledger.user} is not signed in"
            for user, believed in person.view_now.items():
                if believed != (user in online):
                    yield f"{person.ledger.user} believes that {user} is {'online' if believed else 'offline'}"
