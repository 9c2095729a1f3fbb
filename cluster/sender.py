"""Sending events: not before the server that carries us knows what everybody is interested in, and remembered when sent."""

from collections.abc import Callable, Iterable
from functools import partial

import trio

from cluster.bus import BusAwayError
from cluster.cache import Cache
from cluster.channels import Channels
from cluster.core import Core
from cluster.envelope import ChannelEvent, UserEvent
from cluster.fence import Fence
from cluster.holders import Holders

Event = UserEvent | ChannelEvent
Done = Callable[[bool], None]


class Sender:
    """What goes to other holders and subscribers, and must arrive."""

    def __init__(self, core: Core, fence: Fence, holders: Holders, channels: Channels, cache: Cache) -> None:
        self._core = core
        self._fence = fence
        self._holders = holders
        self._channels = channels
        self._cache = cache
        self._may_send = trio.Event()
        self._ups = 0

    def bus_up(self) -> None:
        """The bus carries us, on some server: answers cross to it behind the interests of those who answer."""
        self._ups += 1
        self._may_send = trio.Event()
        self._fence.wait(self._may_send.set)

    async def wait(self) -> None:
        """Return when the server that carries us knows everybody's interests."""
        await self._may_send.wait()

    def send(self, events: Iterable[Event], done: Done) -> None:
        """See `Member.send_events`."""
        if not self._core.bus.connected:
            done(False)
        elif self._may_send.is_set():
            self._send(events, done)
        else:
            waiting, ups = tuple(events), self._ups
            self._fence.wait(lambda: self._send(waiting, done) if self._ups == ups else done(False))

    def _send(self, events: Iterable[Event], done: Done) -> None:
        if not self._core.bus.has_room:  # a part of a request must not be carried and the rest refused
            done(False)
            return
        kept: list[ChannelEvent] = []
        try:
            for event in events:
                if isinstance(event, UserEvent):
                    self._holders.send_event(event)
                elif event.ttl:
                    kept.append(self._cache.stamp(event))
                    self._channels.send(kept[-1])
                    self._cache.send(kept[-1])
                else:
                    self._channels.send(event)
        except BusAwayError:
            done(False)
        else:
            self._core.bus.when_flushed(partial(self._remember, kept, done))

    def _remember(self, kept: list[ChannelEvent], done: Done, carried: bool) -> None:
        """The bus has the events: those that are kept are remembered just before they are delivered here."""
        for event in kept if carried else ():
            self._cache.remember(event)
        done(carried)
