"""Confirmations: what a sign-in or a subscription waits for before it may succeed.

A confirmation needs a fence behind the held interest (in a user, or a channel), and every peer's part of the shards that
are named. It comes at once when both are there already. Both are bounded: a silent peer costs `fence_timeout`, a bus that
is away `confirm_timeout`, and then it fails. A sign-in asks twice: without shards for its success, and then with those of
its watchlist, so that the user is seen without waiting for what a silent peer knows of others.

Ten thousand may wait for the same shard, so they are told slice by slice: in one go, that stopped a node for 2.5 s.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import trio

from cluster.core import Core
from cluster.fence import Fence
from cluster.held import Held
from cluster.maps import Maps

_SLICE = 20  # confirmations before others may run: 4 ms, where each shows a watchlist of 100


@dataclass(slots=True)
class _Ticket:
    """One confirmation that waits. `done` is None once it has been called."""

    interest: Held
    done: Callable[[bool], None] | None
    waiting: int  # how many things have to come still
    patience_ends: float
    given_up_at: float


class Confirmations:
    """Everything that waits to be confirmed."""

    def __init__(self, core: Core, maps: Maps, fence: Fence) -> None:
        self._core = core
        self._maps = maps
        self._fence = fence
        self._tickets: deque[_Ticket] = deque()  # in the order of their age
        self._complete: deque[_Ticket] = deque()  # those for which everything has come, in that order
        self._has_complete = trio.Event()
        self._told = 0  # at once, since the last tick

    def confirm(self, interest: Held, shards: Iterable[str], done: Callable[[bool], None]) -> None:
        """See `Member.confirm`."""
        waiting = [shard for shard in shards if not self._maps.is_ready(shard)]
        fenced = interest.fenced
        if not waiting and fenced:
            done(True)
            return
        now, settings = trio.current_time(), self._core.settings
        ends = (now + settings.fence_timeout, now + settings.confirm_timeout)
        ticket = _Ticket(interest, done, len(waiting) + (not fenced), *ends)
        self._tickets.append(ticket)
        punch = partial(self._punch, ticket)
        for shard in waiting:
            self._maps.when_ready(shard, punch)
        if not fenced:
            self._fence.wait(lambda: self._pass_fence(ticket))

    async def run(self) -> None:
        """Confirm what more than a slice has come for at once, until cancelled."""
        while True:
            await self._has_complete.wait()
            self._has_complete = trio.Event()
            while self._complete:
                for _ in range(min(_SLICE, len(self._complete))):
                    self._conclude(self._complete.popleft())
                await trio.lowlevel.checkpoint()

    def tick(self, now: float) -> None:
        """End what has waited for too long."""
        self._told = 0
        for ticket in list(self._tickets):
            if ticket.done is None:
                continue
            if ticket.patience_ends > now:
                break
            if self._core.bus.connected and self._is_fenced(ticket):
                waited = self._core.settings.fence_timeout + now - ticket.patience_ends
                self._core.stats.fenced(waited, timed_out=True)
                self._settle(ticket, confirmed=True)
            elif ticket.given_up_at <= now:
                self._settle(ticket, confirmed=False)
        while self._tickets and self._tickets[0].done is None:
            self._tickets.popleft()

    def _is_fenced(self, ticket: _Ticket) -> bool:
        """Whether there is no fence to wait for; an interest that was let go of since needs none."""
        return ticket.interest.dropped or ticket.interest.fenced

    def _pass_fence(self, ticket: _Ticket) -> None:
        ticket.interest.pass_fence()
        self._punch(ticket)

    def _punch(self, ticket: _Ticket) -> None:
        """One of the things that a ticket waits for has come."""
        ticket.waiting -= 1
        if ticket.waiting or ticket.done is None:
            return
        if self._told < _SLICE and not self._complete:
            self._told += 1
            self._conclude(ticket)
        else:
            self._complete.append(ticket)
            self._has_complete.set()

    def _conclude(self, ticket: _Ticket) -> None:
        if self._is_fenced(ticket):
            self._settle(ticket, confirmed=True)
        else:  # the bus was away since the fence
            ticket.waiting = 1
            self._fence.wait(lambda: self._pass_fence(ticket))

    def _settle(self, ticket: _Ticket, *, confirmed: bool) -> None:
        done, ticket.done = ticket.done, None
        if done is not None:
            done(confirmed)
