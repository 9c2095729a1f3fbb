"""Leads a node out, as `node.drain` plans it: told by signals or by `POST /drain`, and told to hurry by more of them.

Rules for whoever edits this file: every wait ends early when there is a hurry, and has a bound without one.
"""

import random
from collections.abc import Sequence

import structlog
import trio

from cluster import Member
from node.config.settings import Settings
from node.connection import Connection
from node.drain import Schedule, Stage, longest_linger
from node.hub import Hub
from node.metrics import Metrics

log = structlog.get_logger(__name__)

_INTERVAL = 0.05  # seconds between two looks at what is due
_SLICE = 200  # connections closed before others may run: some milliseconds
_HURRIED_TIMEOUT = 1.0  # seconds for outboxes when there is a hurry


class Leaving:
    """The way out of one node. `begin` it once or more often; the rest is called in the order of the stages."""

    def __init__(self, settings: Settings, hub: Hub, metrics: Metrics) -> None:
        self._settings = settings
        self._hub = hub
        self._metrics = metrics
        self._hurry = trio.Event()
        self._cut: trio.CancelScope | None = None
        self.begun = trio.Event()

    @property
    def hurried(self) -> bool:
        """Whether somebody is in a hurry."""
        return self._hurry.is_set()

    def begin(self) -> None:
        """Leave. Idempotent."""
        self.begun.set()

    def hurry(self) -> None:
        """Leave, and skip what is left of all waiting. Idempotent."""
        self.begun.set()
        self._hurry.set()
        if self._cut is not None:
            self._cut.deadline = min(self._cut.deadline, trio.current_time() + _HURRIED_TIMEOUT)

    async def await_delay(self) -> None:
        """Serve as usual for as long as load balancers may still send clients here."""
        self._enter(Stage.DELAY)
        await self._wait(self._settings.drain.delay)

    async def close_all(self) -> None:
        """Send every connection elsewhere, evenly over the spread. No new ones come: the port is closed."""
        self._enter(Stage.CLOSING)
        connections = self._hub.stop_admitting()
        schedule = Schedule(connections, trio.current_time(), self._settings.drain.spread, random.shuffle)
        log.info("closing connections", connections=schedule.remaining, spread=self._settings.drain.spread)
        while True:
            due = schedule.poll(float("inf") if self.hurried else trio.current_time())
            await self._send_away(due)
            self._metrics.drain_remaining.set(schedule.remaining)
            if not schedule.remaining:
                return
            await self._wait(_INTERVAL)

    async def _send_away(self, connections: Sequence[Connection]) -> None:
        for start in range(0, len(connections), _SLICE):
            for connection in connections[start : start + _SLICE]:
                self._hub.send_away(connection)
            await trio.lowlevel.checkpoint()

    def bound(self, scope: trio.CancelScope) -> None:
        """Give what is left in outboxes, and the peers' halves of the closes, their time."""
        self._cut = scope
        timeout = min(self._settings.drain.timeout, _HURRIED_TIMEOUT) if self.hurried else self._settings.drain.timeout
        scope.deadline = trio.current_time() + timeout

    async def await_lingers(self, member: Member) -> None:
        """Wait until nobody would be missed, and until the watchers must have heard where everybody is."""
        self._enter(Stage.LINGERING)
        if not self._settings.nats.servers:
            return
        with trio.move_on_after(longest_linger(self._settings)):
            while member.would_be_missed and not self.hurried:
                await self._wait(_INTERVAL)
        await self._wait(self._settings.presence.linger)

    async def _wait(self, seconds: float) -> None:
        with trio.move_on_after(0 if self.hurried else seconds):
            await self._hurry.wait()

    def _enter(self, stage: Stage) -> None:
        log.info("draining", stage=stage.value)
        for other in Stage:
            self._metrics.drain_stage.labels(other.value).set(other is stage)
