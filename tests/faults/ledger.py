"""What clients were told and when, and what was done to the system meanwhile. Values only; times are Trio's clock."""

from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True, slots=True)
class Heard:
    """One watchlist frame."""

    at: float
    offline: tuple[str, ...]
    online: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """One server-to-user event, by its number."""

    at: float
    number: int


@dataclass(slots=True)
class Stay:
    """One connection as its client saw it, from `established_at` on."""

    node: int
    """Which node, by its place in the list that clients are given."""
    established_at: float
    signed_in_at: float = inf
    ended_at: float = inf
    code: int | None = None
    """How it was closed; None: without a close frame, or not at all."""
    heard: list[Heard] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    @property
    def watches_from(self) -> float:
        """When it had its first view; inf: never."""
        return self.heard[0].at if self.heard else inf


@dataclass(slots=True)
class Ledger:
    """One client's connections, one after the other."""

    user: str
    watchlist: tuple[str, ...] = ()
    stays: list[Stay] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Published:
    """One event to a user through a node's API. `status` 0: the request was not answered."""

    number: int
    user: str
    node: int
    sent_at: float
    answered_at: float
    status: int


@dataclass(frozen=True, slots=True)
class Excuse:
    """Trouble that the promises make room for: what a node says, or is told, may lag from `start` to `end`.

    `node` -1: all of them. `events`, `presence`: of what.
    """

    node: int
    start: float
    end: float
    why: str
    events: bool = True
    presence: bool = True


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. `kind` is one of the words in `oracle`."""

    kind: str
    at: float
    text: str
