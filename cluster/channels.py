"""Channels with subscribers here: the interest in each, and the events that arrive for it.

`channel.<app>.<channel>` is heard by the nodes that have subscribers of the channel, and by nobody else.
"""

from typing import Protocol

import trio

from cluster.cache import Cache, Done, HeldChannel
from cluster.core import Core
from cluster.envelope import ChannelEvent, Message
from cluster.held import HeldInterests


class Listener(Protocol):
    """The node's side: what arrives for subscribers who are connected here. It does not wait."""

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """Deliver to the channel's subscribers here; False if there are none."""


class Channels:
    """The channels held by this node. `hold` and `release` come in pairs, one per subscription."""

    def __init__(self, core: Core, cache: Cache, listener: Listener) -> None:
        self._core = core
        self._cache = cache
        self._listener = listener
        self._held = HeldInterests(core, HeldChannel, core.subjects.channel, core.receiver(self._on_message))

    def __len__(self) -> int:
        """How many channels are held, lingering ones included."""
        return len(self._held)

    def hold(self, app: str, channel: str) -> None:
        """One more subscription: the first takes the interest."""
        self._held.acquire((app, channel))

    def release(self, app: str, channel: str, linger: float) -> None:
        """One subscription less; after the last the interest is kept for `linger` seconds more."""
        self._held.release((app, channel), trio.current_time(), linger)

    def interest(self, app: str, channel: str) -> HeldChannel:
        """The interest in a channel, which is held."""
        return self._held[app, channel]

    def recall(self, app: str, channel: str, done: Done) -> None:
        """See `ChannelCalls.recall`."""
        self._cache.recall(app, channel, self._held.get((app, channel)), done)

    def bus_down(self) -> None:
        """See `HeldInterests.bus_down`; nor does anybody know what is published meanwhile."""
        self._held.bus_down()
        for held in self._held.values():
            held.knows = False
        self._cache.bus_down()

    def tick(self, now: float) -> None:
        """Let go of channels whose linger has ended."""
        self._held.poll(now)

    def send(self, event: ChannelEvent) -> None:
        """Send an event to the other nodes with subscribers, and to keepers. Raises `BusAwayError`; the caller flushes."""
        self._core.send(self._core.subjects.channel(event.app, event.channel), event)
        if event.ttl:
            self._cache.send(event)

    def try_send(self, event: ChannelEvent) -> None:
        """Send an event that may be lost while the bus is away, and is never kept."""
        self._core.try_send(self._core.subjects.channel(event.app, event.channel), event)

    def _on_message(self, message: Message, _reply: str) -> None:
        if not isinstance(message, ChannelEvent):
            self._core.stats.unclaimed(message.KIND)
            return
        if message.ttl:
            self._cache.remember(message)
        if not self._listener.receive_channel_event(message):
            self._core.stats.unclaimed(message.KIND)
