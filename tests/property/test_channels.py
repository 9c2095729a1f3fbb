"""Channels against models: names, signatures, the share of client events, and many subscribers on one or two nodes.

The models are the rules of protocol.md 6 and 7 in the plainest form that can be checked; they share nothing with the code
but the wire.
"""

import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from node.actions import Broadcast, Join, Refused, Send
from node.config.apps import App
from node.connection import Connection
from node.protocol.errors import ProtocolError
from node.protocol.frames import PING
from node.protocol.messages import ClientEvent, Subscribe, Unsubscribe
from node.subscriptions import next_client_event
from node.users import Unavailable
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.unit.support import QUIET, Client, FakeTransport, Node, member_data, run_nodes

SOCKET_ID = "1.2"
APP = App(
    id="1001",
    key=KEY,
    secrets=(SECRET,),
    client_events=True,
    client_events_per_second=0,
    presence_members=3,
    subscription_count=True,
)
PREFIXES = (
    *("", "private-", "presence-", "cache-", "private-cache-", "presence-cache-", "private-encrypted-"),
    *("private-encrypted-cache-", "Private-", "privat-", "x-private-", "#", "#server-to-user-", "#private-"),
)
NAMES = st.builds(str.__add__, st.sampled_from(PREFIXES), st.text(max_size=5) | st.from_regex(r"[-a-zA-Z0-9_=@,.;]{1,200}"))


# -- one connection ---------------------------------------------------------------------------------------------------


def signature(text: str, secret: str = SECRET) -> str:
    """As a backend signs."""
    return f"{KEY}:{hmac.new(secret.encode(), text.encode(errors='surrogatepass'), hashlib.sha256).hexdigest()}"


def make() -> Connection:
    """A connection."""
    return Connection(APP, SOCKET_ID, FakeTransport(), 0.0)


@given(NAMES, st.sampled_from(["", "right", "of another channel", "by another secret", "of another connection"]))
@example("private-x", "right")
@example("private-encrypted-cache-x", "right")
def test_guarded_channel_opens_to_its_signature_only(name: str, auth: str) -> None:
    """And an open one to everybody; names that are none, and reserved ones, to nobody."""
    text = {"of another channel": f"{SOCKET_ID}:{name}x", "of another connection": f"1.1:{name}"}
    signed = signature(text.get(auth, f"{SOCKET_ID}:{name}"), "other" if auth == "by another secret" else SECRET)
    connection = make()
    actions = connection.receive(Subscribe(name, signed if auth else ""))
    valid = re.fullmatch(r"[-a-zA-Z0-9_=@,.;]{1,200}", name) is not None
    guarded = name.startswith(("private-", "presence-"))
    expected = valid and (not guarded or (auth == "right" and not name.startswith("presence-")))
    assert [type(action) for action in actions if isinstance(action, Join)] == [Join] * expected
    assert (connection.subscriptions is not None) is expected
    if not expected:
        assert all(isinstance(action, Send | Refused) for action in actions)


@given(st.text(), st.none() | st.text(max_size=20), st.none() | st.text(max_size=20))
def test_any_subscribe_is_answered_whatever_it_says(name: str, auth: str | None, channel_data: str | None) -> None:
    """And leads nowhere without a signature, unless the channel is open."""
    for channel in (name, "private-" + name, "presence-" + name):
        actions = make().receive(Subscribe(channel, auth, channel_data))
        assert actions
        assert not (channel != name and any(isinstance(action, Join) for action in actions))


@given(st.text(max_size=40).map(lambda data: f'{{"user_id":{data}}}') | st.text(max_size=40))
@example('{"user_id":1e400}')
@example('{"user_id":"\\ud800"}')
def test_any_signed_channel_data_is_a_member_or_refused(data: str) -> None:
    """Backends make mistakes; members are text that fits."""
    message = Subscribe("presence-x", signature(f"{SOCKET_ID}:presence-x:{data}"), data)
    if not data:
        return
    for action in make().receive(message):
        if isinstance(action, Join):
            member = action.subscription.member
            assert member is not None
            assert 1 <= len(member.user_id) <= 128
            json.loads(member.info)


@given(
    st.sampled_from(["private-x", "presence-x", "private-encrypted-x", "x", "#server-to-user-a", "private-y"]),
    st.text(max_size=10),
    st.lists(st.sampled_from(["subscribe", "confirm", "leave"]), max_size=6),
)
def test_client_event_goes_through_a_confirmed_subscription_only(channel: str, event: str, steps: list[str]) -> None:
    """To private and presence channels, and only where it is subscribed at that moment."""
    connection = make()
    held = None
    for step in steps:
        if step == "leave":
            connection.receive(Unsubscribe("private-x"))
            held = None
        elif step == "confirm" and held is not None:
            held.is_confirmed = True
        elif step == "subscribe" and held is None:
            (action,) = connection.receive(Subscribe("private-x", signature(f"{SOCKET_ID}:private-x")))
            assert isinstance(action, Join)
            held = action.subscription
    actions = connection.receive(ClientEvent("client-" + event, channel, "{}"))
    goes = channel == "private-x" and held is not None and held.is_confirmed
    assert any(isinstance(action, Broadcast) for action in actions) is goes


STEPS = st.integers(0, 64).map(lambda number: number / 32)


@given(st.lists(STEPS, max_size=100), st.sampled_from([1, 2, 8, 16]))
def test_client_events_have_the_share_of_a_token_bucket(pauses: list[float], rate: int) -> None:
    """A second's worth at once, then as many as time brings; rates and times are exact in binary."""
    app = App(id="1", key="k", secrets=("s",), client_events_per_second=float(rate))
    now, busy_until, tokens = 1000.0, 0.0, Fraction(rate)
    for pause in pauses:
        now += pause
        tokens = min(Fraction(rate), tokens + Fraction(pause) * rate)
        if tokens >= 1:
            busy_until = next_client_event(app, busy_until, now)
            tokens -= 1
        else:
            with pytest.raises(ProtocolError) as caught:
                next_client_event(app, busy_until, now)
            assert caught.value.code == 4301


# -- many connections on some nodes -----------------------------------------------------------------------------------

CHANNELS = ("x", "private-x", "cache-x", "presence-x", "presence-cache-x")
USERS = ("ann", "bea", "cid", "dan")


class Subscriber(Client):
    """A client that holds the server to its promises with every frame."""

    def __init__(self, node: Node, *, alone: bool) -> None:
        super().__init__(node.hub, APP)
        self.alone = alone
        self.asked: dict[str, str] = {}  # channels that it wants, and who it is there
        self.members: dict[str, set[str]] = {}  # channels that it was told it has, and who is there
        self.counts: dict[str, int] = {}
        self.events: Counter[tuple[str, str]] = Counter()

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return self.close_code is None and not self._ended

    def want(self, channel: str, user: str) -> None:
        """Subscribe, if it is not already."""
        if self.listen().asked.setdefault(channel, user) == user and channel not in self.members:
            self.subscribe(channel, member_data(user) if channel.startswith("presence-") else None)

    def want_no_more(self, channel: str) -> None:
        """Unsubscribe, if it is subscribed."""
        if self.listen().asked.pop(channel, None) is not None:
            self.unsubscribe(channel)
            self.listen()
            self.members.pop(channel, None)
            self.counts.pop(channel, None)

    def listen(self) -> "Subscriber":
        """Read what came, and check it."""
        for frame in self.read_frames():
            if frame != PING:
                self._hear(read_message(frame))
        return self

    def _hear(self, message: dict[str, Any]) -> None:
        channel, data = str(message.get("channel")), message["data"]
        decoded: Any = json.loads(data) if isinstance(data, str) else data
        match message["event"]:
            case "pusher_internal:subscription_succeeded":
                assert channel in self.asked
                assert channel not in self.members
                self._begin(channel, decoded)
            case "pusher_internal:member_added":
                assert decoded["user_id"] not in self.members[channel]
                self.members[channel].add(decoded["user_id"])
            case "pusher_internal:member_removed":
                assert decoded["user_id"] != self.asked[channel]
                self.members[channel].remove(decoded["user_id"])
            case "pusher_internal:subscription_count":
                assert channel in self.members
                self.counts[channel] = decoded["subscription_count"]
            case "pusher:cache_miss":
                assert channel in self.members
            case "pusher:subscription_error":
                assert decoded["type"] == "LimitReached" or self.close_code == 4100
                self.asked.pop(channel)
            case "pusher:error":
                assert decoded["code"] in (None, 4009, 4100)
            case "pusher:ping":
                self.say("pusher:pong", {})
            case name:
                assert channel in self.members
                self.events[channel, str(name)] += 1

    def _begin(self, channel: str, data: dict[str, dict[str, list[str]]]) -> None:
        """A success: with all members, this one included, where there are any."""
        ids = data["presence"]["ids"] if channel.startswith("presence-") else []
        assert len(set(ids)) == len(ids)
        assert len(ids) <= 3 or not self.alone  # several nodes can pass the limit together
        assert not channel.startswith("presence-") or self.asked[channel] in ids
        self.members[channel] = set(ids)


@dataclass
class World:
    """The nodes, and everybody who ever connected."""

    nodes: list[Node]
    clients: list[Subscriber] = field(default_factory=list)
    sent: int = 0
    was_faulty: bool = False

    def pick(self, number: int) -> Subscriber | None:
        """One of the open connections."""
        clients = [client for client in self.clients if client.is_open]
        return clients[number % len(clients)] if clients else None

    def node(self, number: int) -> Node:
        """One of the nodes."""
        return self.nodes[number % len(self.nodes)]

    def having(self, channel: str) -> set[Subscriber]:
        """The open connections that were told that they are subscribed."""
        return {client for client in self.clients if client.listen().is_open and channel in client.members}

    async def publish(self, number: int, channel: str) -> None:
        """An event reaches who was subscribed all the time, once, and nobody who was not; or nobody at all."""
        self.sent += 1
        name = f"e{self.sent}"
        before = self.having(channel)
        try:
            with trio.fail_after(1):
                await self.node(number).publish(channel, name, app=APP)
        except (Unavailable, trio.TooSlowError):
            before = set()
        await trio.sleep(0.01)
        self._check_heard(name, channel, before)

    def _check_heard(self, name: str, channel: str, before: set[Subscriber]) -> None:
        after = self.having(channel)
        received = {client for client in self.clients if client.events[channel, name]}
        assert (before & after <= received) or self.was_faulty
        assert received <= {client for client in self.clients if channel in client.members or not client.is_open}
        assert all(client.events[channel, name] == 1 for client in received)

    async def trigger(self, client: Subscriber, channel: str) -> None:
        """A client event reaches the others, where the channel takes it, and never its sender."""
        self.sent += 1
        name = f"client-{self.sent}"
        others = self.having(channel) - {client}
        takes = channel.startswith(("private-", "presence-")) and channel in client.members
        client.trigger(channel, name)
        await trio.sleep(0.01)
        self._check_heard(name, channel, others if takes else set())
        assert not client.events[channel, name]
        assert takes or not any(other.events[channel, name] for other in self.clients)

    def mend(self) -> None:
        """All is well again."""
        for node in self.nodes:
            node.bus.catch_up()
            if not node.bus.connected:
                node.find_bus()

    async def check_truth(self) -> None:
        """When everything has settled, everybody knows who is there, and so does the API."""
        for client in self.clients:
            assert not client.listen().is_open or set(client.asked) == set(client.members)
        subscribers = {channel: self.having(channel) for channel in CHANNELS}
        members = {channel: {client.asked[channel] for client in who} for channel, who in subscribers.items()}
        for channel, who in subscribers.items():
            if channel.startswith("presence-"):
                assert all(client.members[channel] == members[channel] for client in who)
            else:
                assert all(client.counts[channel] == len(who) for client in who)
        for node in self.nodes:
            await self._check_audience(node, subscribers, members)

    async def _check_audience(
        self, node: Node, subscribers: dict[str, set[Subscriber]], members: dict[str, set[str]]
    ) -> None:
        occupied = {channel: len(who) for channel, who in subscribers.items() if who}
        audience = node.hub.audience
        assert await audience.channels(APP) == occupied
        for channel in CHANNELS:
            if channel.startswith("presence-"):
                assert set(await audience.members(APP, channel)) == members[channel]


@dataclass(frozen=True)
class Step:
    """What happens next; the numbers pick nodes and connections, whatever there is."""

    what: str
    number: int
    channel: str
    user: str
    pause: float

    async def take(self, world: World) -> None:
        """Let it happen."""
        if self.what == "come":
            client = Subscriber(world.node(self.number), alone=len(world.nodes) == 1)
            world.clients.append(client)
            client.want(self.channel, self.user)
        elif self.what == "publish":
            await world.publish(self.number, self.channel)
        elif self.what == "lose the bus":
            world.was_faulty = True
            if world.node(self.number).bus.connected:
                world.node(self.number).lose_bus()
        elif self.what == "mend":
            world.mend()
        elif (known := world.pick(self.number)) is not None:
            await self._act(world, known)
        if self.pause:
            await trio.sleep(self.pause)

    async def _act(self, world: World, client: Subscriber) -> None:
        match self.what:
            case "subscribe":
                client.want(self.channel, self.user)
            case "unsubscribe":
                client.want_no_more(self.channel)
            case "trigger":
                await world.trigger(client.listen(), self.channel)
            case "go":
                client.end()


LIVES = ("come", "come", "come", "subscribe", "subscribe", "unsubscribe", "go", "publish", "trigger")
PAUSES = st.sampled_from([0.0, 0.0, 0.001, 0.019, 0.11, 0.3, 1.01, 1.5, 31.0])


def steps_of(*whats: str) -> st.SearchStrategy[list[Step]]:
    """Steps of these kinds."""
    step = st.builds(
        Step, st.sampled_from(whats), st.integers(0, 9), st.sampled_from(CHANNELS), st.sampled_from(USERS), PAUSES
    )
    return st.lists(step, max_size=25)


async def live(steps: Sequence[Step], count: int) -> None:
    """Take the steps, look at the end of them, let everybody go, and look again."""
    async with run_nodes(APP, nodes=count) as nodes:
        world = World(nodes)
        for step in steps:
            await step.take(world)
        world.mend()
        await trio.sleep(13 if world.was_faulty else 3.5)
        await world.check_truth()
        for client in world.clients:
            client.end()
        await trio.sleep(QUIET)
        await world.check_truth()
        await trio.sleep(QUIET)
        assert [node.leftovers() for node in nodes] == [{}] * count


@settings(max_examples=60, deadline=None)
@given(steps_of(*LIVES), st.integers(1, 2))
def test_subscribers_are_promised_the_truth_whatever_happens(steps: list[Step], count: int) -> None:
    """Members alternate and end in the truth, events come once, and nothing is left at the end."""
    trio.run(live, steps, count, clock=MockClock(autojump_threshold=0))


@settings(max_examples=40, deadline=None)
@given(steps_of(*LIVES, "lose the bus", "mend"), st.integers(1, 2))
def test_subscribers_are_promised_the_truth_when_the_bus_fails_too(steps: list[Step], count: int) -> None:
    """Subscriptions may fail then, and say so; nothing else is different in the end."""
    trio.run(live, steps, count, clock=MockClock(autojump_threshold=0))
