"""Channels with subscribers here: the interest in each, and the events that arrive for it.

`channel.<app>.<channel>` is heard by the nodes that have subscribers of the channel, and by nobody else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from cluster.core import Core
from cluster.envelope import ChannelEvent, Message
from cluster.held import Held, HeldInterests, Key


@dataclass(slots=True, eq=False)
class HeldChannel(Held):
    """An interest in a channel. `knows`: what was published before is known here, and everything since was heard."""

    knows: bool = False


class Channels:
    """The channels held by this node. `hold` and `release` come in pairs, one per subscription."""

    def __init__(self, core: Core, receive: Callable[[ChannelEvent], bool]) -> None:
        """`receive` delivers an event to subscribers here, and says whether there are any; it does not wait."""
        self._core = core
        self._receive = receive
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

    def get(self, key: Key) -> HeldChannel | None:
        """The interest in a channel, if it is held."""
        return self._held.get(key)

    def bus_down(self) -> None:
        """See `HeldInterests.bus_down`; nor is what is published meanwhile heard."""
        self._held.bus_down()
        for held in self._held.values():
            held.knows = False

    def tick(self, now: float) -> list[Key]:
        """Let go of channels whose linger has ended, and return them."""
        return [key for key, _ in self._held.poll(now)]

    def send(self, event: ChannelEvent) -> None:
        """Send an event to the other nodes with subscribers; the caller flushes. Raises `BusAwayError`."""
        self._core.send(self._core.subjects.channel(event.app, event.channel), event)

    def try_send(self, event: ChannelEvent) -> None:
        """Send an event that may be lost while the bus is away."""
        self._core.try_send(self._core.subjects.channel(event.app, event.channel), event)

    def _on_message(self, message: Message, _reply: str) -> None:
        if not isinstance(message, ChannelEvent) or not self._receive(message):
            self._core.stats.unclaimed(message.KIND)
