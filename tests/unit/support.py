"""What the tests of sessions share: clients without sockets, and nodes that are real but for their transports.

A client notes what it is sent in words, so that a test reads like the conversation it expects: `read` gives "established",
"error 4009", "signed in ann", "offline bea cid, online dan", "subscribed #server-to-user-ann", "pong", …, in order. The
reading is strict where clients are: `data` must have the form that the protocol gives it.
"""

import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from cluster import Broker, BusAwayError, ChannelEvent, ClusterSettings, LocalBus, Member, UserEvent
from node.bus import ClusterMetrics
from node.config.apps import App, Apps
from node.config.settings import Rebalance
from node.connection import Pace
from node.hub import Hub, HubSettings
from node.metrics import Metrics
from node.protocol.frames import PING, encode_event
from node.protocol.signatures import channel_string, sign, user_string
from node.transport.seam import Upgrade
from node.users import Unavailable
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.waiting import carried

APP = App(id="1001", key=KEY, secrets=(SECRET,))
OTHER_APP = App(id="1002", key="other-key", secrets=("other-secret",))

QUIET = 65.0
"""Seconds after which every linger and every timer of a closed connection has ended."""


class FakeTransport:
    """Takes frames, and notes how it was closed. As real ones do, it ignores whatever is offered after that."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.close_code: int | None = None
        self.reason = ""
        self.was_closed = trio.Event()

    def offer(self, frame: bytes) -> None:
        """See `Transport`."""
        if self.close_code is None:
            self.frames.append(frame)

    def close(self, code: int, reason: str) -> None:
        """See `Transport`."""
        if self.close_code is None:
            self.close_code, self.reason = int(code), reason
            self.was_closed.set()

    @property
    def buffered(self) -> int:
        """Nothing was taken by anyone."""
        return sum(map(len, self.frames))


class Client:
    """One WebSocket to a hub, from its client's side."""

    def __init__(
        self,
        hub: Hub,
        app: App = APP,
        *,
        path: str | None = None,
        query: str = "protocol=7",
        origin: str | None = None,
        secure: bool = False,
    ) -> None:
        self.app = app
        self.transport = FakeTransport()
        upgrade = Upgrade(f"/app/{app.key}" if path is None else path, query, origin, "127.0.0.1:1", secure)
        self.receiver = hub.open(upgrade, self.transport)
        self._ended = False
        self._read = 0
        first = read_message(self.transport.frames[0])
        self.socket_id = ""
        if first["event"] == "pusher:connection_established":
            self.socket_id = json.loads(first["data"])["socket_id"]
            self._read = 1

    # -- what it says ---------------------------------------------------------------------------------------------

    def say_text(self, text: str) -> None:
        """One text message, whatever it is."""
        self.receiver.touch(trio.current_time(), 1, 0)
        if self.transport.close_code is None:
            self.receiver.receive(text)

    def say(self, event: str, data: object) -> None:
        """One message."""
        self.say_text(json.dumps({"event": event, "data": data}))

    def sign_in(self, user: str, watchlist: Sequence[object] | None = None, *, secret: str | None = None) -> None:
        """Sign in as this user, by a signature of this secret or of the app's first."""
        self.say("pusher:signin", sign_in_data(self.socket_id, self.app, user_data(user, watchlist), secret))

    def subscribe(self, channel: str, channel_data: str | None = None) -> None:
        """Subscribe as pusher-js does; with a signature where the channel needs one."""
        guarded = channel.startswith(("private-", "presence-"))
        data = subscription_data(self.socket_id, self.app, channel, channel_data) if guarded else {"auth": ""}
        self.say("pusher:subscribe", {**data, "channel": channel})

    def enter(self, channel: str, user: object, info: object = None) -> None:
        """Subscribe to a presence channel as this user."""
        self.subscribe(channel, member_data(user, info))

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe."""
        self.say("pusher:unsubscribe", {"channel": channel})

    def trigger(self, channel: str, event: str = "client-x", data: object = "{}", **more: object) -> None:
        """Send a client event."""
        self.say_text(json.dumps({"event": event, "channel": channel, "data": data, **more}))

    def end(self) -> None:
        """The WebSocket has ended, whoever closed it."""
        if not self._ended:
            self._ended = True
            self.receiver.closed()

    # -- what it is told ------------------------------------------------------------------------------------------

    def read_frames(self) -> list[bytes]:
        """The frames that came since the last reading."""
        frames = self.transport.frames[self._read :]
        self._read += len(frames)
        return frames

    def read(self) -> list[str]:
        """What came since the last reading, in words."""
        return list(map(describe, self.read_frames()))

    @property
    def close_code(self) -> int | None:
        """How the server closed it; None: it did not."""
        return self.transport.close_code


def user_data(user: str, watchlist: Sequence[object] | None = None) -> str:
    """What a backend signs."""
    return json.dumps({"id": user} if watchlist is None else {"id": user, "watchlist": watchlist})


def sign_in_data(socket_id: str, app: App, raw: str, secret: str | None = None) -> dict[str, str]:
    """The `data` of a sign-in."""
    signature = sign(app.secrets[0] if secret is None else secret, user_string(socket_id, raw))
    return {"auth": f"{app.key}:{signature}", "user_data": raw}


def member_data(user: object, info: object = None) -> str:
    """What a backend signs for a presence channel."""
    return json.dumps({"user_id": user} if info is None else {"user_id": user, "user_info": info})


def subscription_data(
    socket_id: str, app: App, channel: str, channel_data: str | None = None, secret: str | None = None
) -> dict[str, str]:
    """The `data` of a subscription, but for the channel."""
    text = channel_string(socket_id, channel, channel_data)
    auth = {"auth": f"{app.key}:{sign(app.secrets[0] if secret is None else secret, text)}"}
    return auth if channel_data is None else {**auth, "channel_data": channel_data}


# -- reading ----------------------------------------------------------------------------------------------------------


def describe(frame: bytes) -> str:
    """One frame in words. Fails if it does not have the form of its event."""
    return "websocket ping" if frame == PING else _describe_message(read_message(frame))


def _describe_message(message: dict[str, Any]) -> str:
    data = message["data"]
    match message["event"]:
        case "pusher:error":
            words = f"error {read_error(message)[0]}"
        case "pusher:ping" | "pusher:pong" as event:
            assert message == {"event": event, "data": {}}
            words = str(event).removeprefix("pusher:")
        case "pusher:signin_success":
            assert set(message) == {"event", "data"}
            assert set(data) == {"user_data"}
            words = f"signed in {json.loads(data['user_data'])['id']}"
        case "pusher_internal:watchlist_events":
            words = ", ".join(" ".join([name, *users]) for name, users in read_watchlist(message))
        case _:
            assert set(message) - {"user_id"} == {"event", "data", "channel"}
            words = _describe_of_channel(message["event"], message["channel"], data)
            words += f" by {message['user_id']}" if "user_id" in message else ""
    return words


def _describe_of_channel(event: str, channel: str, data: Any) -> str:
    match event:
        case "pusher:subscription_error":
            assert set(data) == {"type", "error", "status"}
            words = f"refused {channel} {data['type']} {data['status']}"
        case "pusher_internal:subscription_succeeded":
            words = " ".join([f"subscribed {channel}", *(read_members(data) or ())])
        case "pusher_internal:member_added":
            assert set(json.loads(data)) == {"user_id", "user_info"}
            words = f"{channel} + {json.loads(data)['user_id']}"
        case "pusher_internal:member_removed":
            assert set(json.loads(data)) == {"user_id"}
            words = f"{channel} - {json.loads(data)['user_id']}"
        case "pusher_internal:subscription_count":
            words = f"{channel} has {json.loads(data)['subscription_count']}"
        case _:
            assert isinstance(data, str)
            words = f"{channel} {event} {data}"
    return words


def read_members(data: str) -> list[str] | None:
    """The members that a success tells, sorted; None: it is no presence channel's. All parts must agree."""
    decoded = json.loads(data)
    if decoded == {}:
        return None
    assert set(decoded) == {"presence"}
    presence = decoded["presence"]
    assert set(presence) == {"ids", "hash", "count"}
    assert all(isinstance(user, str) for user in presence["ids"])
    assert sorted(presence["hash"]) == sorted(presence["ids"])
    assert presence["count"] == len(presence["ids"])
    return sorted(presence["ids"])


def read_error(message: dict[str, Any]) -> tuple[int | None, str]:
    """Code and text of a `pusher:error`, whose data is an object (protocol.md 1.5)."""
    assert set(message) == {"event", "data"}
    assert message["event"] == "pusher:error"
    assert set(message["data"]) == {"code", "message"}
    code, text = message["data"]["code"], message["data"]["message"]
    assert code is None or type(code) is int
    assert isinstance(text, str)
    return code, text


def read_watchlist(message: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The elements of a watchlist frame: data is a string, offline comes before online, and none is empty."""
    assert set(message) == {"event", "data"}
    assert isinstance(message["data"], str)
    data = json.loads(message["data"])
    assert set(data) == {"events"}
    events = [(event["name"], event["user_ids"]) for event in data["events"]]
    assert [name for name, _ in events] in (["offline"], ["online"], ["offline", "online"])
    assert all(users and len(set(users)) == len(users) for _, users in events)
    return events


# -- nodes ------------------------------------------------------------------------------------------------------------


class FaultyBus(LocalBus):
    """A bus that can be slow to confirm, or away, or mute; what others say meanwhile still arrives."""

    def __init__(self, broker: Broker | None = None) -> None:
        super().__init__(broker)
        self.quick = True
        self.mute = False
        self._slow: list[Callable[[bool], None]] = []

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Bus.publish`."""
        self._check()
        if not self.mute:
            super().publish(subject, payload, reply)

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """See `Bus.when_flushed`."""
        if not self.connected:
            done(False)
        elif self.quick:
            done(True)
        else:
            self._slow.append(done)

    def catch_up(self) -> None:
        """Confirm at once from now on, and what waits."""
        self.quick = True
        waiting, self._slow = self._slow, []
        for done in waiting:
            done(True)

    def _check(self) -> None:
        if not self.connected:
            raise BusAwayError("away, as the test wants it")


class Node:
    """One node of a cluster, but for its ports."""

    def __init__(self, apps: Apps, broker: Broker, settings: ClusterSettings, hub: HubSettings) -> None:
        self.metrics = Metrics()
        self.hub = Hub(apps, self.metrics, hub, random.Random(1).random)
        self.bus = FaultyBus(broker)
        self.member = Member(self.bus, settings, self.hub.listener, ClusterMetrics(self.metrics))
        self.hub.begin(self.member)
        self.expected_errors = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Live until cancelled; started when it is a member."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.member.run)
            nursery.start_soon(self.hub.run)
            task_status.started()

    def value(self, name: str, **labels: str) -> float:
        """The value of a metric, without `usher_`; 0 where nothing was counted."""
        return self.metrics.registry.get_sample_value(f"usher_{name}", labels) or 0.0

    def gauges(self, app: App = APP) -> tuple[float, ...]:
        """How many connections, signed-in connections, users online, and watch edges of an app."""
        names = ("connections", "signed_in_connections", "users_online_here", "watch_edges")
        return tuple(self.value(name, app=app.id) for name in names)

    @property
    def errors(self) -> float:
        """How many errors that should not have happened."""
        return sum(self.value("errors_total", where=where) for where in ("message", "sign-in", "subscription", "timer"))

    def lose_bus(self) -> None:
        """The bus is away from now on."""
        self.bus.connected = False
        self.member.bus_down()

    def find_bus(self) -> None:
        """The bus is back."""
        self.bus.connected = True
        self.member.bus_up()

    async def send(self, user: str, name: str, *, app: App = APP, but_for: str | None = None) -> None:
        """Publish an event to a user, as the API does."""
        frame = encode_event(name, f"#server-to-user-{user}", "{}")
        events = [UserEvent(app.id, user, frame, but_for)]
        if not await carried(lambda done: self.hub.audience.publish(app, events, done)):
            raise Unavailable

    async def publish(
        self, channel: str, name: str, *, data: str = "{}", app: App = APP, but_for: str | None = None
    ) -> None:
        """Publish an event to a channel, as the API does."""
        events = [ChannelEvent(app.id, channel, encode_event(name, channel, data), but_for)]
        if not await carried(lambda done: self.hub.audience.publish(app, events, done)):
            raise Unavailable

    def leftovers(self) -> dict[str, object]:
        """What is held although no connection is left and every linger has ended; empty if all is well."""
        hub, users = self.hub, self.hub.users
        held: dict[str, object] = {
            "connections": list(hub._connections),
            "wheel": hub._wheel._buckets,
            "users": users._users,
            "counts": [count for count in (hub.listener.connections, users.online, *hub.listener.counted.values()) if count],
            "watchers": hub.watchers._watchers,
            "noted": hub.watchers._noted,
            "channels": hub.channels._channels,
            "counts of channels": [*hub.channels._counts._due, *hub.channels._counts._told_at],
            "fan-out": [*hub.fanout._streams, *[hub.fanout.backlog] * bool(hub.fanout.backlog)],
            "shards": self.member.shards_watched,
            "interests": self.member.interests - 3,
            "tickets": [t for t in self.member._confirmations._tickets if t.done is not None],
        }
        return {name: what for name, what in held.items() if what}


@asynccontextmanager
async def run_nodes(
    *apps: App,
    nodes: int = 1,
    settings: ClusterSettings | None = None,
    pace: Pace | None = None,
    rebalance: Rebalance | None = None,
) -> AsyncIterator[list[Node]]:
    """A cluster of this many nodes on one bus. At the end it must have met no error but the expected ones."""
    settings = settings or ClusterSettings(shards=8, join_wait=1.2 if nodes > 1 else 0.0)
    broker, shared = Broker(), Apps(apps or [APP, OTHER_APP])
    hub = HubSettings(pace or Pace(), rebalance=rebalance or Rebalance())
    members = [Node(shared, broker, settings, hub) for _ in range(nodes)]
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for node in members:
                starting.start_soon(nursery.start, node.run)
        yield members
        nursery.cancel_scope.cancel()
    assert [node.errors for node in members] == [node.expected_errors for node in members]


async def settle(seconds: float = 0.5) -> None:
    """Let everything happen that happens within some seconds of a mock clock."""
    await trio.sleep(seconds)


async def subscribed(node: Node, *channels: str, app: App = APP) -> Client:
    """A client that is subscribed to these channels; what it was told of them is read."""
    client = Client(node.hub, app)
    for channel in channels:
        client.subscribe(channel)
    await settle()
    told = client.read()
    assert [words for words in told if words.startswith("subscribed")] == [f"subscribed {channel}" for channel in channels]
    return client


async def entered(node: Node, channel: str, user: object, *, app: App = APP) -> Client:
    """A client that is in a presence channel as this user; its success is not read."""
    client = Client(node.hub, app)
    client.enter(channel, user)
    await settle()
    return client
