"""Holders: the nodes where a user is signed in, and what is sent to them.

`user.<app>.<user>` is heard by a user's holders and by nobody else. A question to that subject reaches all K of them, but
NATS does not say how many K is. So holders know each other: whoever becomes one says so on the user's subject, behind its
fence, and the others answer; each answer to a question names the other holders, and the asker waits for exactly those. One
that is named but silent is asked once more, directly: either it answers, or "no responders" proves it gone. Nobody guesses,
and nodes that do not hold the user hear nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import trio

from cluster.bus import BusAwayError
from cluster.core import Core, Inbox
from cluster.directory import Edge
from cluster.edges import UserEdge
from cluster.envelope import Answer, Holding, Message, Question, Terminate, UserEvent
from cluster.held import Held, HeldInterests, Key
from cluster.maps import Maps
from cluster.subjects import app_of

NAME = "presence"
_ATTEMPTS = 2  # a question may reach its only holder just when it lets go; asked again, NATS says that nobody is there
_INTRODUCTIONS = 500  # at each tick: 5,000 a second, so that a node with very many users does not flood the bus


_NOBODY: frozenset[str] = frozenset()  # nearly every user has one holder, and each empty set would cost 216 bytes


class Listener(Protocol):
    """The node's side: what arrives for users who are connected here. It does not wait."""

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """Deliver to the user's connections here; False if there are none."""

    def terminate(self, app: str, user: str) -> int:
        """Close the user's connections here; how many."""

    def count(self, app: str, user: str) -> int:
        """How many connections the user has here."""

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """Users in watched shards came online or went offline; those that nobody here watches included."""


@dataclass(slots=True, eq=False)
class _HeldUser(Held):
    announced: bool = False
    left_at: float = 0.0
    others: frozenset[str] = _NOBODY  # the other holders

    def forget(self, other: str) -> None:
        """Another node holds the user no more, if it did."""
        if other in self.others:
            self.others = (self.others - {other}) or _NOBODY


class Holders:
    """The users held by this node. `hold` and `release` come in pairs, one per connection."""

    def __init__(self, core: Core, maps: Maps, listener: Listener, is_peer: Callable[[str], bool]) -> None:
        self._core = core
        self._maps = maps
        self._listener = listener
        self._is_peer = is_peer
        self._held = HeldInterests(core, _HeldUser, core.subjects.user, core.receiver(self._on_message))
        self._unintroduced: dict[Key, None] = {}
        maps.follow(NAME, self)

    def __len__(self) -> int:
        """How many users are held, lingering ones included."""
        return len(self._held)

    @property
    def would_be_missed(self) -> bool:
        """Whether any user would be offline without this node, lingering ones included."""
        return any(held.announced and not held.others for held in self._held.values())

    # -- holding --------------------------------------------------------------------------------------------------

    def hold(self, app: str, user: str) -> None:
        """One more connection of the user: interest is taken, nothing is said yet."""
        self._held.acquire((app, user))

    def interest(self, app: str, user: str) -> Held:
        """The interest in a user, who is held."""
        return self._held[app, user]

    def bus_down(self) -> None:
        """See `HeldInterests.bus_down`."""
        self._held.bus_down()

    def announce(self, app: str, user: str) -> None:
        """The user is signed in here: the watchers and the other holders are told, once."""
        held = self._held[app, user]
        if held.announced:
            return
        held.announced = True
        self._maps.put(self.shard(app, user), user, 1)
        if not self._core.bus.alone:
            self._introduce(app, user)

    def _introduce(self, app: str, user: str) -> None:
        holding = Holding(self._core.me, app, user, held=True, echo=True)
        self._core.try_send(self._core.subjects.user(app, user), holding)

    def reintroduce(self) -> None:
        """Something may not have been heard, here or elsewhere: tell all other holders again. `tick` does it, in slices."""
        self._unintroduced = dict.fromkeys(key for key, held in self._held.items() if held.announced)

    def peer_down(self, peer: str) -> None:
        """A peer is gone: nobody waits for its answers. If it comes back, it is met again, and all are introduced."""
        for held in self._held.values():
            held.forget(peer)

    def release(self, app: str, user: str, linger: float) -> None:
        """One connection less; after the last, the user goes down once `linger` seconds have passed without another."""
        now = trio.current_time()
        self._held[app, user].left_at = now
        self._held.release((app, user), now, linger)

    def tick(self, now: float) -> None:
        """Let go of users whose linger has ended; introduce some of those that wait for it."""
        for key in list(islice(self._unintroduced, _INTRODUCTIONS)):
            del self._unintroduced[key]
            if self._held.get(key):
                self._introduce(*key)
        for (app, user), held in self._held.poll(now):
            if held.announced:
                self._maps.drop(self.shard(app, user), user, now - held.left_at)
            if held.others:
                holding = Holding(self._core.me, app, user, held=False)
                self._core.try_send(self._core.subjects.user(app, user), holding)

    # -- the map of those who are online ---------------------------------------------------------------------------

    def shard(self, app: str, user: str) -> str:
        """The shard that a user is in."""
        return self._core.subjects.stem(NAME, app, user)

    def shards(self, app: str) -> list[str]:
        """All shards of an app."""
        return self._core.subjects.stems(NAME, app)

    def is_online(self, app: str, user: str) -> bool:
        """Whether any node announced the user; the shard is watched."""
        return self._maps.is_up(self.shard(app, user), user)

    def begin(self, shard: str, entries: Mapping[str, Any]) -> None:
        """See `View`."""

    def end(self, shard: str) -> None:
        """See `View`."""

    def heed(self, edges: Sequence[Edge], changed: Collection[tuple[str, str]]) -> None:
        """See `View`; how many nodes hold a user is nothing that is told."""
        del changed
        if edges:
            self._listener.user_edges([UserEdge(app_of(e.shard), e.key, e.up, e.age) for e in edges])

    # -- asking ---------------------------------------------------------------------------------------------------

    def send_event(self, event: UserEvent) -> None:
        """Send an event to the other holders; the caller flushes. Raises `BusAwayError`."""
        self._core.send(self._core.subjects.user(event.app, event.user), event)

    async def ask(self, question: Question | Terminate) -> int:
        """What all other holders answer, summed. Raises `BusAwayError` if one of them, alive, did not answer."""
        if self._core.bus.alone:
            return 0
        held = self._held.get((question.app, question.user))
        expected = set(held.others) if held else set()
        answers: dict[str, int] = {}
        with self._core.inbox() as inbox:
            for _ in range(_ATTEMPTS):
                self._core.send(self._core.subjects.user(question.app, question.user), question, inbox.subject)
                if await self._collect(inbox, expected, answers) or expected:
                    break
            else:
                raise BusAwayError("a holder of the user did not answer in time")
        for node in sorted(expected - answers.keys() - {self._core.me}):
            if self._is_peer(node):
                answers[node] = await self._ask_directly(node, question)
        return sum(answers.values())

    async def _collect(self, inbox: Inbox, expected: set[str], answers: dict[str, int]) -> bool:
        """Gather answers until the expected ones are in; `expected` grows by what they name. False when time is up."""
        timeout = self._core.settings.answer_timeout / _ATTEMPTS
        with trio.move_on_after(timeout) as scope:
            while True:
                answer = await inbox.receive()
                if not isinstance(answer, Answer):
                    return True
                answers[answer.node] = max(answer.connections, answers.get(answer.node, 0))
                expected.update(answer.holders)
                if expected - {self._core.me} <= answers.keys():
                    return True
                scope.deadline = min(scope.deadline, trio.current_time() + timeout / 2)
        return False

    async def _ask_directly(self, node: str, question: Question | Terminate) -> int:
        try:
            answer = await self._core.ask(node, question, self._core.settings.answer_timeout)
        except trio.TooSlowError as error:
            raise BusAwayError(f"holder {node} did not answer in time") from error
        return answer.connections if isinstance(answer, Answer) else 0

    # -- answering ------------------------------------------------------------------------------------------------

    def receive_question(self, question: Question | Terminate, reply: str) -> None:
        """Answer for this node, whether it holds the user or not."""
        act = self._listener.terminate if isinstance(question, Terminate) else self._listener.count
        held = self._held.get((question.app, question.user))
        others = tuple(held.others) if held else ()
        answer = Answer(self._core.me, act(question.app, question.user), others)
        if reply:
            self._core.try_send(reply, answer)

    def receive_holding(self, holding: Holding) -> None:
        """Another node became a holder of a user held here, or ceased to be one."""
        held = self._held.get((holding.app, holding.user))
        if held is None:
            return
        if not holding.held:
            held.forget(holding.node)
            return
        held.others |= {holding.node}
        if holding.echo and held.announced:
            echo = Holding(self._core.me, holding.app, holding.user, held=True)
            self._core.try_send(self._core.subjects.node(holding.node), echo)

    def _on_message(self, message: Message, reply: str) -> None:
        match message:
            case UserEvent(app, user, frame, except_socket_id):
                if not self._listener.receive_event(app, user, frame, except_socket_id):
                    self._core.stats.unclaimed(message.KIND)
            case Question() | Terminate():
                self.receive_question(message, reply)
            case Holding():
                self.receive_holding(message)
            case _:
                self._core.stats.unclaimed(message.KIND)
