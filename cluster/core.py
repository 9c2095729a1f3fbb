"""What every part of a running cluster member shares: its name, the bus, its settings, and the way to send.

`send` is where a message becomes bytes and is counted; handlers made by `receiver` are where bytes become a message.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog
import trio

from cluster.bus import Bus, BusAwayError, Handler
from cluster.envelope import EnvelopeError, Message, decode, encode
from cluster.membership import MembershipSettings
from cluster.subjects import Subjects

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Durations in seconds, sizes in bytes. `prefix` and `shards` are equal in the whole cluster."""

    prefix: str = "usher"
    shards: int = 256
    heartbeat_interval: float = 1.0
    tick_interval: float = 0.1
    fence_timeout: float = 2.0  # a silent peer holds a sign-in up for this long at the most, and then its watchlist
    confirm_timeout: float = 10.0  # a bus that is away, for this long
    answer_timeout: float = 2.0
    shard_linger: float = 30.0
    presence_linger: float = 1.0
    cache_bytes: int = 64 << 20  # what the last events of cache channels may take here; then the oldest are forgotten
    join_wait: float = 1.2  # every live peer sends a heartbeat meanwhile
    membership: MembershipSettings = field(default_factory=MembershipSettings)


class Stats(Protocol):
    """Who counts. Every method is called from the Trio thread and does not wait."""

    def message(self, direction: str, kind: str) -> None:
        """A message went `out`, or came `in`."""

    def unclaimed(self, kind: str) -> None:
        """A message found nobody here; 0 in a healthy cluster, but for races with somebody who just left."""

    def repaired(self, reason: str) -> None:
        """A peer's part of a shard is asked for again, because something was not heard."""

    def fenced(self, seconds: float, *, timed_out: bool) -> None:
        """A fence ended."""


class NoStats:
    """Counts nothing."""

    def message(self, direction: str, kind: str) -> None:
        """See `Stats`."""

    def unclaimed(self, kind: str) -> None:
        """See `Stats`."""

    def repaired(self, reason: str) -> None:
        """See `Stats`."""

    def fenced(self, seconds: float, *, timed_out: bool) -> None:
        """See `Stats`."""


class Inbox:
    """Where the answers to one request arrive."""

    def __init__(self) -> None:
        self.subject = ""
        # a request is answered by its holders, one each: more answers than this are not waited for
        self._put, self._get = trio.open_memory_channel[Message | None](1024)

    def deliver(self, answer: Message | None, _reply: str) -> None:
        """An answer arrived; None: there is nobody to answer."""
        try:
            self._put.send_nowait(answer)
        except trio.WouldBlock:
            log.warning("more answers than a request can have")

    async def receive(self) -> Message | None:
        """The next answer; None: nobody listens to the subject that was asked."""
        return await self._get.receive()


class Core:
    """One member's means. `me` is this incarnation's id, unique in the cluster and a valid subject token."""

    def __init__(self, me: str, bus: Bus, settings: ClusterSettings, stats: Stats) -> None:
        self.me = me
        self.bus = bus
        self.settings = settings
        self.stats = stats
        self.subjects = Subjects(settings.prefix, settings.shards)
        self._expected: dict[str, Callable[[Message | None, str], None]] = {}
        self._requests = 0

    def send(self, subject: str, message: Message, reply: str = "") -> None:
        """Publish; raises `BusAwayError`."""
        if self.bus.alone and not reply:
            return
        self.bus.publish(subject, encode(message), reply)
        self.stats.message("out", message.KIND)

    def try_send(self, subject: str, message: Message) -> None:
        """Publish what is repaired by itself when lost: the numbers and heartbeats tell."""
        try:
            self.send(subject, message)
        except BusAwayError:
            self.stats.message("lost", message.KIND)

    def receiver(self, handle: Callable[[Message, str], None]) -> Handler:
        """A bus handler that decodes, and calls `handle(message, reply)` for what is a message of this version."""

        def receive(subject: str, payload: bytes | None, reply: str) -> None:
            if payload is None:
                return
            try:
                message = decode(payload)
            except EnvelopeError as error:
                self.stats.message("in", "undecodable")
                log.warning("undecodable message on the bus", subject=subject, error=str(error))
                return
            self.stats.message("in", message.KIND)
            handle(message, reply)

        return receive

    # -- requests -------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take the interest in answers; once, before the first request."""
        self.bus.subscribe(self.subjects.replies(self.me), self._on_answer)

    def expect(self, heed: Callable[[Message | None, str], None]) -> str:
        """A reply subject of one's own: `heed` gets each answer (None: there is nobody to answer) and the subject."""
        self._requests += 1
        reply = self.subjects.reply(self.me, str(self._requests))
        self._expected[reply] = heed
        return reply

    def forget(self, reply: str) -> None:
        """Nothing is expected there any more."""
        self._expected.pop(reply, None)

    @contextmanager
    def inbox(self) -> Iterator[Inbox]:
        """A reply subject of one's own for the length of a request."""
        inbox = Inbox()
        inbox.subject = self.expect(inbox.deliver)
        try:
            yield inbox
        finally:
            self.forget(inbox.subject)

    async def ask(self, node: str, message: Message, timeout: float) -> Message | None:  # noqa: ASYNC109
        """One node's answer; None: no responders. Raises `BusAwayError`, `trio.TooSlowError`."""
        with trio.fail_after(timeout), self.inbox() as inbox:
            self.send(self.subjects.node(node), message, inbox.subject)
            return await inbox.receive()

    def _on_answer(self, subject: str, payload: bytes | None, _reply: str) -> None:
        heed = self._expected.get(subject)
        if heed is None:
            self.stats.unclaimed("answer")
        elif payload is None:
            heed(None, subject)
        else:
            self.receiver(lambda message, _: heed(message, subject))(subject, payload, "")
