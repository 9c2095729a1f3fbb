"""How a node leaves: who is closed when, and how long all of it may take. Pure.

SIGTERM, `POST /drain` ──▶ DELAY ──`drain.delay`──▶ CLOSING ──`drain.spread`──▶ LINGERING ──▶ goodbye, exit 0

- DELAY: not ready, but serving: load balancers take a while to look elsewhere.
- CLOSING: the port is closed; connections are closed with 4200, in a random order (so that no app or client comes first)
  and at an even rate. pusher-js comes back at once and without jitter, so this rate is that of the sign-ins elsewhere,
  and of the requests to the backend that authorizes them. Then what is left in outboxes has `drain.timeout`.
- LINGERING: the users of closed connections stay online here until they are held by another node, or for
  `presence.drain_linger`. Only then do the peers hear a goodbye, so who comes back in time was never away.

Whoever is in a hurry (a second signal, or Ctrl-C) skips what is left of the delay, the spread and the linger.
Rules for whoever edits this file: whatever makes a stop longer is part of `longest_stop`, since something kills the
process when that has passed.
"""

import math
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, Generic, TypeVar

from node.config.settings import Settings

T = TypeVar("T")

LAST_WORDS: Final = 1.0
"""Seconds that the bus has for the goodbye."""
_SLACK: Final = 1.0  # seconds for what has no deadline of its own: wakening, closing sockets, the end of the process


class Stage(Enum):
    """Where a node that leaves stands; see the module's drawing."""

    DELAY = "delay"
    CLOSING = "closing"
    LINGERING = "lingering"


class Schedule(Generic[T]):
    """Items that fall due one by one, in random order and evenly over `spread` seconds from `start` on."""

    def __init__(self, items: Iterable[T], start: float, spread: float, shuffle: Callable[[list[T]], object]) -> None:
        """`shuffle` puts a list into random order, in place."""
        self._items = list(items)
        shuffle(self._items)
        self._total = len(self._items)
        self._start = start
        self._spread = spread

    @property
    def remaining(self) -> int:
        """How many are not due yet."""
        return len(self._items)

    def poll(self, now: float) -> list[T]:
        """Those that are due, each once."""
        passed = 1.0 if self._spread <= 0 else min(1.0, (now - self._start) / self._spread)
        left = self._total - math.ceil(self._total * passed)
        due = self._items[left:]
        del self._items[left:]
        return due


def longest_linger(settings: Settings) -> float:
    """Seconds from the last close until nobody lingers."""
    return max(settings.presence.linger, settings.presence.drain_linger) if settings.nats.servers else 0.0


def longest_stop(settings: Settings) -> float:
    """Seconds from SIGTERM to the end of the process, at the most: the grace period to configure.

    drain.delay + drain.spread + max(drain.timeout, presence.drain_linger) + presence.linger + webhooks.batch_interval +
    webhooks.timeout + 2; a node without NATS has no peers to linger for. The last `presence.linger` gives the news of where
    users are time to reach all watchers, or webhooks, which then have one attempt to arrive.
    """
    drain, webhooks = settings.drain, settings.webhooks
    closing = drain.delay + drain.spread + max(drain.timeout, longest_linger(settings))
    return closing + settings.presence.linger + webhooks.batch_interval + webhooks.timeout + LAST_WORDS + _SLACK
