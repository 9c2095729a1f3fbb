"""Sessions against models: one connection by itself, many of them on one or two nodes, and the wheel of timers.

The models are the rules of protocol.md 1.3 and 2 to 5 in the plainest form that can be checked; they share nothing with
the code but the wire.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import MockClock

from node.actions import Action, Authorized, Broadcast, Claim, Close, Join, Leave, Refused, Send
from node.config.apps import App
from node.connection import Connection, Pace, Phase
from node.protocol.frames import PING
from node.protocol.messages import Ping, Pong, SignIn, Subscribe, UnknownEvent, Unsubscribe
from node.timers import Wheel
from node.users import Unavailable
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.unit.support import (
    QUIET,
    Client,
    FakeTransport,
    Node,
    describe,
    read_watchlist,
    run_nodes,
    sign_in_data,
    user_data,
)

LIMIT = 3
NAMES = ("ann", "bea", "cid", "dan", "eve")
USERS = st.sampled_from(NAMES)
WATCHLISTS = st.lists(USERS | st.just(7), max_size=6)
APP = App(id="1001", key=KEY, secrets=(SECRET,), watchlist_limit=LIMIT)


def cut(watchlist: Sequence[object]) -> tuple[list[str], bool]:
    """What counts of a watchlist, and whether it had more."""
    ids = list(dict.fromkeys(member for member in watchlist if isinstance(member, str)))
    return ids[:LIMIT], len(ids) > LIMIT


# -- one connection ---------------------------------------------------------------------------------------------------

TICK = 0.25  # of the clock; with it, all times are exact in binary
PACE = Pace(activity_timeout=12.0, pong_timeout=3.0)
SOCKET_ID = "1.2"


class OneConnection(RuleBasedStateMachine):
    """A connection, whose hub confirms what it likes when it likes, and looks at it four times a second."""

    @initialize(deadline=st.none() | st.sampled_from([2.0, 6.0, 20.0]))
    def open(self, deadline: float | None) -> None:
        """An app that demands authorization in time, or none."""
        demands = {} if deadline is None else {"require_authorization": True, "authorization_timeout": deadline}
        app = App(id="1001", key=KEY, secrets=(SECRET,), watchlist_limit=LIMIT, **demands)  # type: ignore[arg-type]
        self.now = 1000.0
        self.connection = Connection(app, SOCKET_ID, FakeTransport(), self.now)
        self.deadline = None if deadline is None else self.now + deadline
        self.heard = self.now
        self.probed: list[float] = []
        self.user: str | None = None
        self.signed_in = False
        self.claimed: list[tuple[Claim, list[object]]] = []
        self.watching: tuple[str, ...] = ()
        self.closed = False

    @precondition(lambda self: self.closed)
    @rule(deadline=st.none() | st.just(6.0))
    def come_back(self, deadline: float | None) -> None:
        """A closed connection does nothing more: the client opens another."""
        self.open(deadline)

    def told(self, actions: Sequence[Action]) -> list[str]:
        """Actions in words."""
        words = []
        for action in actions:
            match action:
                case Send(frame):
                    words.append(describe(frame))
                case Close(code):
                    words.append(f"close {int(code)}")
                case Claim(number=number):
                    words.append(f"claim {number}")
                case Refused():
                    words.append("refused")
                case Authorized():
                    words.append("authorized")
                case Join(subscription) | Leave(subscription):
                    words.append(f"{type(action).__name__} {subscription.channel}")
                case Broadcast(subscription):
                    words.append(f"broadcast {subscription.channel}")
        return words

    @precondition(lambda self: not self.closed)
    @rule(user=USERS, watchlist=WATCHLISTS, good=st.booleans())
    def sign_in(self, user: str, watchlist: list[object], good: bool) -> None:
        """With a signature that is right, or not."""
        data = sign_in_data(SOCKET_ID, APP, user_data(user, watchlist), SECRET if good else "wrong")
        actions = self.connection.receive(SignIn(**data))
        if not good or self.user not in (None, user):
            assert self.told(actions) == ["error 4009", "refused"]
            return
        expected = [] if self.deadline is None else ["authorized"]
        assert self.told(actions) == [*expected, f"claim {len(self.claimed) + 1}"]
        claim = actions[-1]
        assert isinstance(claim, Claim)
        assert (list(claim.user.watchlist), claim.cut) == cut(watchlist)
        self.claimed.append((claim, watchlist))
        self.user, self.deadline = user, None

    @precondition(lambda self: not self.closed and self.claimed)
    @rule()
    def confirm(self) -> None:
        """The newest claim, perhaps once more; a hub never confirms an older one."""
        claim, watchlist = self.claimed[-1]
        ids, over = cut(watchlist)
        expected = [f"signed in {self.user}"] + ["error 4302"] * over
        assert self.told(self.connection.signed_in(claim)) == expected
        self.signed_in, self.watching = True, tuple(ids)

    @precondition(lambda self: not self.closed)
    @rule(user=USERS)
    def subscribe(self, user: str) -> None:
        """To a user's channel: one's own, or another's."""
        told = self.told(self.connection.receive(Subscribe(f"#server-to-user-{user}", "")))
        mine = self.signed_in and user == self.user
        assert told == ([f"subscribed #server-to-user-{user}"] if mine else ["error 4009"])

    @precondition(lambda self: not self.closed)
    @rule(user=USERS)
    def say_other_things(self, user: str) -> None:
        """What changes nothing."""
        told = [
            self.told(self.connection.receive(message))
            for message in (Ping(), Pong(), Unsubscribe(f"#server-to-user-{user}"), UnknownEvent(user))
        ]
        assert told == [["pong"], [], [], ["error None"]]

    @precondition(lambda self: not self.closed)
    @rule()
    def be_heard(self) -> None:
        """Bytes come."""
        self.connection.touch(self.now)
        self.heard, self.probed = self.now, []

    @precondition(lambda self: not self.closed)
    @rule(ticks=st.integers(1, 80))
    def wait(self, ticks: int) -> None:
        """Time passes, and the connection is looked at whenever it wants to be."""
        for _ in range(ticks):
            self.now += TICK
            due = self.connection.next_check(PACE) <= self.now
            told = self.told(self.connection.check(self.now, PACE))
            assert due or not told
            expected = self._expect()
            assert told == expected
            if expected and expected[0].startswith("close"):
                self.closed = True
                return

    def _expect(self) -> list[str]:
        silent = self.now - self.heard
        if self.deadline is not None and self.now >= self.deadline:
            return ["close 4009"]
        if silent >= 15.0:
            return ["close 4201"]
        for at, word in ((12.0, "ping"), (6.0, "websocket ping")):
            if silent >= at and at not in self.probed:
                self.probed.append(at)
                return [word]
            if silent >= at:
                return []
        return []

    @invariant()
    def stands_where_the_model_stands(self) -> None:
        """Phase, user and watchlist."""
        phase = Phase.SIGNED_IN if self.signed_in else Phase.SIGNING_IN if self.user else Phase.OPEN
        assert self.connection.phase is phase
        user = self.connection.user
        assert (user and user.id) == self.user
        if self.signed_in:
            assert user is not None
            assert user.watchlist == self.watching


OneConnection.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOneConnection = OneConnection.TestCase


# -- many connections on some nodes -----------------------------------------------------------------------------------


class Witness(Client):
    """A client that holds the server to its promises with every frame."""

    def __init__(self, node: Node, number: int) -> None:
        super().__init__(node.hub, APP)
        self.node = number
        self.user: str | None = None
        self.awaited: list[str] = []  # the ids of the list whose state was not told yet
        self.view: dict[str, bool] = {}
        self.events: list[str] = []

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return self.close_code is None and not self._ended

    def listen(self) -> "Witness":
        """Read what came, and check it."""
        frames = [frame for frame in self.read_frames() if frame != PING]
        while frames:
            message = read_message(frames.pop(0))
            match message["event"]:
                case "pusher:signin_success":
                    self._begin(json.loads(message["data"]["user_data"]), frames)
                case "pusher_internal:watchlist_events" if self.awaited:
                    self._see(read_watchlist(message))
                case "pusher_internal:watchlist_events":
                    self._follow(read_watchlist(message))
                case "pusher:ping":
                    self.say("pusher:pong", {})
                case "pusher:error":
                    assert message["data"]["code"] in (4009, 4100, 4200)
                case name:
                    assert self.user is not None
                    assert message["channel"] == f"#server-to-user-{self.user}"
                    self.events.append(name)
        return self

    def _begin(self, claimed: dict[str, object], frames: list[bytes]) -> None:
        """A success: 4302 at once if the list was too long; the state of the whole list is the first that is told of it."""
        assert self.user in (None, claimed["id"])
        self.user = str(claimed["id"])
        watchlist = claimed["watchlist"]
        assert isinstance(watchlist, list)
        ids, over = cut(watchlist)
        if over:
            assert read_message(frames.pop(0))["data"]["code"] == 4302
        self.view, self.awaited = {}, ids

    def _see(self, state: Sequence[tuple[str, list[str]]]) -> None:
        """The state of the whole list, in its order."""
        ids, self.awaited = self.awaited, []
        for name, users in state:
            assert users == [user for user in ids if user in users]
            self.view |= dict.fromkeys(users, name == "online")
        assert sorted(self.view) == sorted(ids)

    def _follow(self, changes: Sequence[tuple[str, list[str]]]) -> None:
        """A change: only of watched users, and always of what was told before."""
        for name, users in changes:
            for user in users:
                assert self.view[user] is (name == "offline"), f"{user} was told {name} twice"
                self.view[user] = name == "online"


@dataclass
class World:
    """The nodes, and everybody who ever connected."""

    nodes: list[Node]
    clients: list[Witness] = field(default_factory=list)
    sent: int = 0
    was_faulty: bool = False

    def pick(self, number: int) -> Witness | None:
        """One of the open connections."""
        clients = [client for client in self.clients if client.is_open]
        return clients[number % len(clients)] if clients else None

    def holding(self, user: str) -> set[Witness]:
        """The open connections that were told that they are signed in as the user."""
        return {client for client in self.clients if client.listen().is_open and client.user == user}

    def node(self, number: int) -> Node:
        """One of the nodes."""
        return self.nodes[number % len(self.nodes)]

    async def send(self, number: int, user: str) -> None:
        """An event reaches who was signed in all the time, once, and nobody who was not; or nobody at all."""
        self.sent += 1
        name = f"e{self.sent}"
        before = self.holding(user)
        try:
            with trio.fail_after(1):
                await self.node(number).send(user, name, app=APP)
        except (Unavailable, trio.TooSlowError):
            before = set()
        after = self.holding(user)
        received = {client for client in self.clients if name in client.events}
        assert before & after <= received <= after
        assert all(client.events.count(name) == 1 for client in received)

    async def terminate(self, number: int, user: str) -> None:
        """Whoever is signed in as the user is closed, everywhere."""
        before = self.holding(user)
        try:
            count = await self.node(number).hub.users.terminate_user(APP, user)
        except Unavailable:
            return
        assert {client.close_code for client in before} <= {4200}
        assert count >= len(before) or self.was_faulty

    def disturb(self, number: int, *, away: bool) -> None:
        """A node's bus goes away, or confirms nothing; what others send to it arrives all the same."""
        self.was_faulty = True
        node = self.node(number)
        if not away:
            node.bus.quick = False
        elif node.bus.connected:
            node.lose_bus()

    def mend(self) -> None:
        """All is well again."""
        for node in self.nodes:
            node.bus.catch_up()
            if not node.bus.connected:
                node.find_bus()

    def check_truth(self) -> None:
        """When everything has settled, all who watch know the truth, and the gauges tell it."""
        clients = [client for client in self.clients if client.listen().is_open]
        online = {client.user for client in clients}
        for client in clients:
            assert not client.awaited
            assert client.view == {user: user in online for user in client.view}
        for number, node in enumerate(self.nodes):
            here = [client for client in clients if client.node == number]
            signed_in = [client for client in here if client.user]
            users, edges = {client.user for client in signed_in}, sum(len(client.view) for client in signed_in)
            assert node.gauges(APP) == (len(here), len(signed_in), len(users), edges)
            assert node.hub.listener.load()[:2] == (len(here), len(users))


@dataclass(frozen=True)
class Step:
    """What happens next; the numbers pick nodes and connections, whatever there is."""

    what: str
    number: int
    user: str
    watchlist: tuple[object, ...]
    pause: float

    async def take(self, world: World) -> None:
        """Let it happen."""
        if self.what == "come":
            client = Witness(world.nodes[self.number % len(world.nodes)], self.number % len(world.nodes))
            world.clients.append(client)
            client.sign_in(self.user, self.watchlist)
        elif self.what == "send":
            await world.send(self.number, self.user)
        elif self.what == "terminate":
            await world.terminate(self.number, self.user)
        elif self.what in FAULTS:
            world.disturb(self.number, away=self.what == "lose the bus")
        elif self.what == "mend":
            world.mend()
        elif (known := world.pick(self.number)) is not None:
            self._act(known)
        if self.pause:
            await trio.sleep(self.pause)

    def _act(self, client: Witness) -> None:
        match self.what:
            case "sign in again":
                client.sign_in(client.listen().user or self.user, self.watchlist)
            case "sign in as anyone":
                client.sign_in(self.user, self.watchlist)
            case "sign in badly":
                client.sign_in(self.user, self.watchlist, secret="wrong")
            case "go":
                client.end()


LIVES = ("come", "come", "come", "sign in again", "sign in as anyone", "sign in badly", "go", "go", "send", "terminate")
FAULTS = ("lose the bus", "slow the bus")
PAUSES = st.sampled_from([0.0, 0.0, 0.001, 0.019, 0.021, 0.3, 1.01, 1.5, 31.0])


def steps_of(*whats: str) -> st.SearchStrategy[list[Step]]:
    """Steps of these kinds."""
    step = st.builds(Step, st.sampled_from(whats), st.integers(0, 9), USERS, WATCHLISTS.map(tuple), PAUSES)
    return st.lists(step, max_size=25)


async def live(steps: Sequence[Step], count: int) -> None:
    """Take the steps, look at the end of them, let everybody go, and look again."""
    async with run_nodes(APP, nodes=count) as nodes:
        world = World(nodes)
        for step in steps:
            await step.take(world)
        world.mend()
        await trio.sleep(13 if world.was_faulty else 3.5)
        world.check_truth()
        for client in world.clients:
            client.end()
        await trio.sleep(QUIET)
        world.check_truth()
        assert [node.leftovers() for node in nodes] == [{}] * count


@settings(max_examples=60, deadline=None)
@given(steps_of(*LIVES), st.integers(1, 2))
def test_users_are_promised_the_truth_whatever_happens(steps: list[Step], count: int) -> None:
    """What a watcher is told alternates and ends in the truth, events come once, and nothing is left at the end."""
    trio.run(live, steps, count, clock=MockClock(autojump_threshold=0))


@settings(max_examples=40, deadline=None)
@given(steps_of(*LIVES, *FAULTS, "mend"), st.integers(1, 2))
def test_users_are_promised_the_truth_when_the_bus_fails_too(steps: list[Step], count: int) -> None:
    """Sign-ins and requests may fail then, and say so; nothing else is different in the end."""
    trio.run(live, steps, count, clock=MockClock(autojump_threshold=0))


# -- the wheel --------------------------------------------------------------------------------------------------------

TIMES = st.integers(0, 400).map(lambda number: number / 16)


@given(st.lists(st.tuples(st.sampled_from(["schedule", "poll"]), TIMES), max_size=60), st.sampled_from([0.25, 1.0, 2.0]))
def test_wheel_does_what_a_list_would_do(steps: list[tuple[str, float]], resolution: float) -> None:
    """Never early, late by the resolution at the most, nothing lost, nothing twice."""
    wheel: Wheel[int] = Wheel(resolution)
    waiting: dict[int, float] = {}
    now = 0.0
    for number, (what, time) in enumerate(steps):
        if what == "schedule":
            wheel.schedule(number, time)
            waiting[number] = time
            continue
        now = max(now, time)
        returned = wheel.poll(now)
        assert len(set(returned)) == len(returned)
        assert all(waiting.pop(item) <= now for item in returned)
        assert all(at + resolution > now for at in waiting.values())
