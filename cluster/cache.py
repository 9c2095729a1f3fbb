"""Cache channels: the last event of each is kept by its two keepers, and by the nodes that hold the channel.

Whoever publishes sends the event to both keepers beside the subscribers. Whoever needs it asks both, and the newer answer
wins. A node that both have answered behind its fence has heard or hears all later events itself, and answers from memory as
long as it holds the channel and the bus stays up. When other nodes become keepers, those who were send them what they keep.
Nobody else remembers anything: what is not renewed would be taken for the last event one day.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import cast

import trio
from msgspec.structs import replace

from cluster.bus import BusAwayError, flush
from cluster.channels import Channels, HeldChannel
from cluster.core import Core
from cluster.envelope import ChannelEvent, Keep, Message, Recall
from cluster.keepers import Keepers
from cluster.kept import Kept, KeptEvents, Key

Done = Callable[[bytes | None, float], None]
_SLICE = 100  # events handed over between two flushes: the bus takes them as fast as it can, and others may run
_MOVING = 10.0  # seconds after a change of keepers in which a sender may not know: a vanished machine is believed in so long


@dataclass(slots=True, eq=False)
class _Asking:
    """A question to keepers. `held`: the interest that was known everywhere when they were asked, if there was one."""

    key: Key
    held: HeldChannel | None
    deadline: float
    dones: list[Done] = field(default_factory=list)
    replies: dict[str, None] = field(default_factory=dict)  # subjects on which answers are still to come
    was_answered: bool = False
    newest: Kept | None = None


class Cache:
    """What this node keeps, and its conversation with the keepers."""

    def __init__(self, core: Core, keepers: Keepers, channels: Channels) -> None:
        self._core = core
        self._keepers = keepers
        self._channels = channels
        self._events = KeptEvents(core.settings.cache_bytes)
        self._stamp = 0
        self._asking: dict[_Asking, None] = {}  # in the order of their age
        self._asking_for: dict[HeldChannel, _Asking] = {}
        self._placed: frozenset[str] = frozenset()  # the nodes by which what is kept here was placed last
        self._missed: set[str] = set()  # those of them that may not have heard of it
        self._has_moved = trio.Event()
        self._moved_at = -inf

    def keepers(self, app: str, channel: str) -> tuple[str, ...]:
        """The channel's keepers, the first one first."""
        return self._keepers_of((app, channel), self._keepers)

    def _other_keepers(self, app: str, channel: str) -> list[str]:
        return [keeper for keeper in self.keepers(app, channel) if keeper != self._core.me]

    # -- keeping --------------------------------------------------------------------------------------------------

    def stamp(self, event: ChannelEvent) -> ChannelEvent:
        """The event as it is sent: later than everything that was heard until now."""
        self._stamp = max(self._stamp + 1, time.time_ns() // 1000)
        return replace(event, stamp=self._stamp, node=self._core.me)

    def send(self, event: ChannelEvent) -> None:
        """Send a stamped event to its keepers; the caller flushes, and remembers it then. Raises `BusAwayError`."""
        keep = Keep(event.app, event.channel, event.frame, event.ttl, event.stamp, event.node)
        for keeper in self._other_keepers(event.app, event.channel):
            self._core.send(self._core.subjects.node(keeper), keep)

    def remember(self, event: ChannelEvent) -> None:
        """A stamped event was sent, or heard: it is kept here if this is a place for it."""
        self._stamp = max(self._stamp, event.stamp)
        if self._is_place_of((event.app, event.channel), self._keepers):
            self._put(event)

    def _put(self, event: ChannelEvent | Keep) -> bool:
        """Keep an event; whether it is newer than what was kept."""
        now = trio.current_time()
        self._stamp = max(self._stamp, event.stamp)
        return self._events.put((event.app, event.channel), _kept(event, now), now)

    def _is_place_of(self, key: Key, keepers: Keepers) -> bool:
        """Whether this node is one of the channel's keepers, or holds it."""
        return self._core.me in self._keepers_of(key, keepers) or self._channels.get(key) is not None

    def _keepers_of(self, key: Key, keepers: Keepers) -> tuple[str, ...]:
        return keepers.of(key[0], self._core.subjects.index(key[1]))

    def let_go(self, key: Key) -> None:
        """This node does not hold a channel any more."""
        if not self._is_place_of(key, self._keepers):
            self._events.forget(key)

    # -- recalling ------------------------------------------------------------------------------------------------

    def recall(self, app: str, channel: str, done: Done) -> None:
        """See `ChannelCalls.recall`."""
        held = self._channels.get((app, channel))
        others = self._other_keepers(app, channel)
        if not others or not self._core.bus.connected or (held and held.fenced and held.knows):
            self._answer((app, channel), None, done)
            return
        if held is not None and held in self._asking_for:
            self._asking_for[held].dones.append(done)
            return
        deadline = trio.current_time() + self._core.settings.answer_timeout
        asking = _Asking((app, channel), held if held and held.fenced else None, deadline, [done])
        self._asking[asking] = None
        if asking.held is not None:
            self._asking_for[asking.held] = asking
        self._ask(asking, others)

    def _ask(self, asking: _Asking, keepers: list[str]) -> None:
        """Ask all keepers; whoever is not there any more knows nothing."""
        for _ in keepers:
            asking.replies[self._core.expect(lambda message, reply: self._on_answer(asking, message, reply))] = None
        for keeper, reply in zip(keepers, list(asking.replies), strict=True):
            try:
                self._core.send(self._core.subjects.node(keeper), Recall(*asking.key), reply)
            except BusAwayError:
                self._settle(asking)
                return

    def _on_answer(self, asking: _Asking, message: Message | None, reply: str) -> None:
        self._core.forget(reply)
        asking.replies.pop(reply, None)
        if isinstance(message, Keep):
            asking.was_answered = True
            self._take(asking, message)
        if not asking.replies:
            self._settle(asking)
        elif asking.was_answered:
            asking.deadline = min(asking.deadline, trio.current_time() + self._core.settings.answer_timeout / 4)

    def _take(self, asking: _Asking, keep: Keep) -> None:
        kept = _kept(keep, trio.current_time())
        if asking.newest is None or kept.stamp > asking.newest.stamp:
            asking.newest = kept
        if self._is_place_of(asking.key, self._keepers):
            self._put(keep)

    def _settle(self, asking: _Asking) -> None:
        self._asking.pop(asking, None)
        for reply in asking.replies:
            self._core.forget(reply)
        if asking.held is not None:
            self._asking_for.pop(asking.held, None)
            # a keeper that is silent may know more than a new one that answers
            asking.held.knows = asking.held.fenced and asking.was_answered and not asking.replies
        dones, asking.dones = asking.dones, []
        for done in dones:
            self._answer(asking.key, asking.newest, done)

    def _answer(self, key: Key, told: Kept | None, done: Done) -> None:
        """The newer of what was told and what is kept here."""
        now = trio.current_time()
        kept = self._events.get(key, now)
        if told is not None and told.until > now and (kept is None or told.stamp > kept.stamp):
            kept = told
        done(*((kept.frame, kept.until - now) if kept else (None, 0.0)))

    def receive(self, message: Keep | Recall, reply: str) -> None:
        """Somebody brings what is to be kept here, or asks for what is."""
        if isinstance(message, Keep):
            if self._put(message) and trio.current_time() - self._moved_at <= _MOVING:
                self._forward(message)
        elif reply:
            nothing = Keep(message.app, message.channel, b"", 0.0)
            self._core.try_send(reply, self._keep((message.app, message.channel)) or nothing)

    def _forward(self, keep: Keep) -> None:
        """Keepers have changed, and its sender may not have known: those whom this node knows shall have it, too.

        Whoever has it does not forward it again.
        """
        for keeper in self._other_keepers(keep.app, keep.channel):
            self._core.try_send(self._core.subjects.node(keeper), keep)

    def _keep(self, key: Key) -> Keep | None:
        now = trio.current_time()
        kept = self._events.get(key, now)
        return Keep(*key, kept.frame, kept.until - now, *kept.stamp) if kept else None

    def bus_down(self) -> None:
        """The bus is away: nobody will answer."""
        for asking in list(self._asking):
            asking.was_answered = False
            self._settle(asking)

    def tick(self, now: float) -> None:
        """End what waits for too long; forget what has expired."""
        for asking in list(self._asking):
            if asking.deadline <= now:
                self._settle(asking)
        self._events.expire(now)

    # -- handing over ---------------------------------------------------------------------------------------------

    def nodes_changed(self, missed: str | None = None) -> None:
        """The nodes among which keepers are chosen have changed; `missed`: one that may not have heard everything."""
        if missed is not None:
            self._missed.add(missed)
        self._moved_at = trio.current_time()
        self._has_moved.set()

    async def hand_over_always(self) -> None:
        """Whenever keepers change, bring what is kept to the new ones; until cancelled."""
        while True:
            await self._has_moved.wait()
            self._has_moved = trio.Event()
            with contextlib.suppress(BusAwayError):  # once it is back, this is done again
                await self.hand_over()

    async def hand_over(self) -> None:
        """Bring what is kept to those who are keepers now and were not. Raises `BusAwayError`."""
        missed, self._missed = self._missed, set()
        before, now = Keepers(self._placed - missed), Keepers(self._keepers.nodes)
        try:
            for number, key in enumerate(list(self._events.keys), start=1):
                self._move(key, before, now)
                if number % _SLICE == 0:
                    await flush(self._core.bus)
                    await trio.lowlevel.checkpoint()
        except BusAwayError:
            self._missed |= missed
            raise
        self._placed = now.nodes

    def _move(self, key: Key, before: Keepers, now: Keepers) -> None:
        keep = self._keep(key)
        for keeper in self._receivers(key, before, now) if keep else ():
            self._core.send(self._core.subjects.node(keeper), cast("Keep", keep))
        if not self._is_place_of(key, now):
            self._events.forget(key)

    def _receivers(self, key: Key, before: Keepers, now: Keepers) -> list[str]:
        """Who needs the event from here: old keepers send it; where none is left, whoever has it."""
        old, new = self._keepers_of(key, before), self._keepers_of(key, now)
        survivors = [node for node in old if node == self._core.me or node in now.nodes]
        if survivors and self._core.me not in survivors:
            return []
        return [keeper for keeper in new if keeper not in old and keeper != self._core.me]


def _kept(event: ChannelEvent | Keep, now: float) -> Kept:
    return Kept((event.stamp, event.node), event.frame, now + event.ttl)
