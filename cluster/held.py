"""Held interests: a subject of its own for everything that somebody here needs, and whether everybody knows that.

Users are held by the connections that are signed in as them, channels by their subscribers. A `Held` is one life of an
interest: let go of and taken anew it is another one, so that a fence which passed for the first says nothing of the second.
"""

from collections.abc import Callable, ItemsView, ValuesView
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.bus import Handler
from cluster.core import Core
from cluster.interest import Interests

Key = tuple[str, str]  # app, and the user or channel


@dataclass(slots=True, eq=False)
class Held:
    """One life of an interest."""

    number: int  # of the subscription on the bus
    fenced: bool  # whether everybody knows of it
    dropped: bool = False

    def pass_fence(self) -> None:
        """A fence has passed that began behind it."""
        self.fenced = not self.dropped


H = TypeVar("H", bound=Held)


class HeldInterests(Generic[H]):
    """Interests by key. Every `acquire` is paired with one `release`; `poll` lets go of what nobody needs any more."""

    def __init__(
        self, core: Core, kind: Callable[[int, bool], H], subject: Callable[[str, str], str], receive: Handler
    ) -> None:
        self._core = core
        self._kind = kind
        self._subject = subject
        self._receive = receive
        self._needs: Interests[Key] = Interests()
        self._held: dict[Key, H] = {}

    def __len__(self) -> int:
        """How many are held, lingering ones included."""
        return len(self._held)

    def items(self) -> ItemsView[Key, H]:
        """All that are held, by key."""
        return self._held.items()

    def values(self) -> ValuesView[H]:
        """All that are held."""
        return self._held.values()

    def __getitem__(self, key: Key) -> H:
        """The interest, which is held."""
        return self._held[key]

    def get(self, key: Key) -> H | None:
        """The interest, if it is held."""
        return self._held.get(key)

    def acquire(self, key: Key) -> None:
        """Count one more need; the first takes the interest."""
        if self._needs.acquire(key):
            number = self._core.bus.subscribe(self._subject(*key), self._receive)
            self._held[key] = self._kind(number, self._core.bus.alone)

    def release(self, key: Key, now: float, linger: float) -> None:
        """Count one need less; after the last, the interest is kept for `linger` seconds more."""
        self._needs.release(key, now, linger)

    def poll(self, now: float) -> list[tuple[Key, H]]:
        """Let go of what has lingered long enough."""
        return [(key, self._drop(key)) for key in self._needs.poll(now)]

    def _drop(self, key: Key) -> H:
        held = self._held.pop(key)
        held.dropped, held.fenced = True, False
        self._core.bus.unsubscribe(held.number)
        return held

    def bus_down(self) -> None:
        """The bus is away: where it comes back, everybody has to learn of the interests again."""
        for held in self._held.values():
            held.fenced = self._core.bus.alone
