"""Channels of a cluster: who subscribes, what reaches them, and who is there (protocol.md 6, 7, 10).

On real members of a cluster; only the transports are not real. Times are those of a mock clock.
"""

import json

import pytest
import structlog
import trio
from trio.testing import MockClock

from node.config.apps import App
from node.users import Unavailable
from node.webhooks.seam import NoWebhooks
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.unit.support import (
    APP,
    OTHER_APP,
    QUIET,
    Client,
    Node,
    entered,
    member_data,
    run_nodes,
    settle,
    sign_in_data,
    subscribed,
    user_data,
)

LINGER = 1.2
"""Seconds after which a member who has gone is no member any more, and everybody was told."""
KINDS = ("x", "private-x", "private-encrypted-x", "presence-x", "cache-x", "private-cache-x", "presence-cache-x")


def app_with(**settings: object) -> App:
    """An app with these settings."""
    return App(**({"id": "1001", "key": KEY, "secrets": (SECRET,)} | settings))  # type: ignore[arg-type]


class Noted(NoWebhooks):
    """Webhooks that note what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def cache_miss(self, app: App, channel: str) -> None:
        """See `Webhooks`."""
        del app
        self.told.append(("cache_miss", channel))

    def client_event(  # noqa: PLR0917 - see `Webhooks`
        self, app: App, channel: str, event: str, data: str, socket_id: str, user_id: str | None
    ) -> None:
        """See `Webhooks`."""
        del app
        self.told.append((channel, event, data, socket_id, user_id))


def read(*clients: Client) -> list[list[str]]:
    """What each of them was told since the last reading."""
    return [client.read() for client in clients]


# -- subscribing and events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["x", "private-x", "private-encrypted-x"])
async def test_subscriber_receives_an_event_once_wherever_it_is(autojump_clock: MockClock, channel: str) -> None:
    """From the success on; those who did not subscribe receive nothing."""
    async with run_nodes(nodes=2) as nodes:
        clients = [await subscribed(node, channel) for node in nodes for _ in range(2)]
        others = [await subscribed(node, channel + "y") for node in nodes]
        for number, node in enumerate(nodes):
            await node.publish(channel, f"e{number}")
        await settle()
        assert read(*clients) == [[f"{channel} e0 {{}}", f"{channel} e1 {{}}"]] * 4
        assert read(*others) == [[], []]


async def test_event_passes_byte_for_byte(autojump_clock: MockClock) -> None:
    """What an encrypted channel carries is never looked into (10)."""
    data = '{"nonce":"AA==","ciphertext": "\\u00fc"} '
    async with run_nodes(nodes=2) as nodes:
        client = await subscribed(nodes[1], "private-encrypted-x")
        await nodes[0].publish("private-encrypted-x", "e", data=data)
        await settle()
        (frame,) = client.read_frames()
        assert read_message(frame) == {"event": "e", "channel": "private-encrypted-x", "data": data}


@pytest.mark.parametrize("sender", [0, 1])
async def test_event_does_not_reach_the_connection_that_it_excludes(autojump_clock: MockClock, sender: int) -> None:
    """Through whichever node it is sent (8.4); nor is it counted as delivered to it."""
    async with run_nodes(nodes=2) as nodes:
        clients = [await subscribed(nodes[0], "x"), await subscribed(nodes[0], "x")]
        await nodes[sender].publish("x", "e", but_for=clients[0].socket_id)
        await settle()
        assert read(*clients) == [[], ["x e {}"]]
        assert nodes[0].value("channel_deliveries_total", app=APP.id) == 1


async def test_event_of_another_app_does_not_arrive(autojump_clock: MockClock) -> None:
    """Channels of apps have nothing in common but their names."""
    async with run_nodes(nodes=2) as nodes:
        clients = [await subscribed(node, "x", app=app) for node in nodes for app in (APP, OTHER_APP)]
        await nodes[0].publish("x", "e", app=OTHER_APP)
        await settle()
        assert read(*clients) == [[], ["x e {}"]] * 2


async def test_events_of_a_channel_arrive_in_order_and_after_the_success(autojump_clock: MockClock) -> None:
    """Whatever is published meanwhile."""
    async with run_nodes(nodes=2) as nodes:
        await subscribed(nodes[0], "x")
        client = Client(nodes[0].hub)
        client.subscribe("x")
        for number in range(50):
            await nodes[number % 2].publish("x", f"e{number}")
        await settle()
        assert client.read()[0] == "subscribed x"
        client.unsubscribe("x")
        for number in range(50):
            await nodes[1].publish("x", f"f{number}")
        await settle()
        assert client.read() == []


async def test_subscriber_hears_everything_from_the_success_on(autojump_clock: MockClock) -> None:
    """An event published the moment after the success, through another node, is not missed."""
    async with run_nodes(nodes=3) as nodes:
        for number in range(20):
            client = Client(nodes[number % 3].hub)
            client.subscribe(f"x{number}")
            while not (told := client.read()):
                await trio.sleep(0.001)
            assert told == [f"subscribed x{number}"]
            await nodes[(number + 1) % 3].publish(f"x{number}", "e")
            await settle(0.05)
            assert client.read() == [f"x{number} e {{}}"]


async def test_subscriber_who_leaves_receives_nothing_more_and_may_come_back(autojump_clock: MockClock) -> None:
    """Also when the subscription was still in progress (6.8)."""
    async with run_nodes(nodes=2) as nodes:
        client = Client(nodes[0].hub)
        client.subscribe("x")
        client.unsubscribe("x")
        await settle()
        assert client.read() == []
        client.subscribe("x")
        client.unsubscribe("x")
        client.subscribe("x")
        await settle()
        assert set(client.read()) == {"subscribed x"}
        await nodes[1].publish("x", "e")
        client.unsubscribe("x")
        client.unsubscribe("x")
        await nodes[1].publish("x", "f")
        await settle()
        assert client.read() == ["x e {}", "error None"]


async def test_subscription_in_progress_is_superseded_by_the_next_one(autojump_clock: MockClock) -> None:
    """Each is answered once at the most."""
    async with run_nodes(nodes=2) as nodes:
        nodes[0].bus.quick = False
        client = Client(nodes[0].hub)
        for _ in range(3):
            client.subscribe("x")
            client.unsubscribe("x")
        client.subscribe("x")
        nodes[0].bus.catch_up()
        await settle(3)
        assert client.read() == ["subscribed x"]
        assert nodes[0].value("subscribes_total", app=APP.id, result="superseded") == 3


async def test_connection_hears_nothing_after_its_close(autojump_clock: MockClock) -> None:
    """Neither the success nor events."""
    async with run_nodes(nodes=2) as nodes:
        client, waiting = await subscribed(nodes[0], "x"), Client(nodes[0].hub)
        waiting.subscribe("y")
        client.end()
        waiting.end()
        for channel in ("x", "y"):
            await nodes[1].publish(channel, "e")
        await settle()
        assert read(client, waiting) == [[], []]


async def test_users_own_channel_is_no_subscription(autojump_clock: MockClock) -> None:
    """It is acknowledged, and counted nowhere (3.3)."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        client.sign_in("ann")
        await settle()
        client.subscribe("#server-to-user-ann")
        await settle()
        assert client.read() == ["signed in ann", "subscribed #server-to-user-ann"]
        assert await node.hub.audience.channels(APP) == {}
        assert (node.value("subscriptions", app=APP.id), node.value("channels_here", app=APP.id)) == (0, 0)


@pytest.mark.parametrize("channel", KINDS)
async def test_subscription_that_the_bus_cannot_confirm_is_told_and_closes_with_4100(
    autojump_clock: MockClock, channel: str
) -> None:
    """On an open connection pusher-js would never try again (1.4)."""
    async with run_nodes(nodes=2) as nodes:
        nodes[0].lose_bus()
        client = Client(nodes[0].hub)
        client.subscribe(channel, member_data("ann") if channel.startswith("presence-") else None)
        with structlog.testing.capture_logs() as logs:
            await settle(15)
        assert client.read() == [f"refused {channel} Unavailable 503", "error 4100"]
        assert client.close_code == 4100
        assert [entry["log_level"] for entry in logs if entry["event"] == "subscription given up: the bus is away"] == [
            "warning"
        ]
        assert nodes[0].value("subscribes_total", app=APP.id, result="unavailable") == 1


async def test_subscription_goes_on_when_the_bus_comes_back_in_time(autojump_clock: MockClock) -> None:
    """Nobody has to try again."""
    async with run_nodes(nodes=2) as nodes:
        nodes[0].lose_bus()
        client = Client(nodes[0].hub)
        client.subscribe("x")
        await settle(3)
        assert client.read() == []
        nodes[0].find_bus()
        await settle(3)
        assert client.read() == ["subscribed x"]


async def test_nobody_here_is_told_an_event_that_the_bus_cannot_carry(autojump_clock: MockClock) -> None:
    """The caller tries again, and it does not arrive twice; users and channels of one request alike."""
    async with run_nodes(nodes=2) as nodes:
        client = await subscribed(nodes[0], "x")
        nodes[0].lose_bus()
        with pytest.raises(Unavailable):
            await nodes[0].publish("x", "e")
        assert client.read() == []


async def test_node_that_is_far_behind_takes_nothing_more_from_publishers(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get a 503 and may try again; those who are there hear nothing of it."""
    async with run_nodes() as (node,):
        client = await subscribed(node, "x")
        with monkeypatch.context() as patch:
            patch.setattr("node.fanout._BACKLOG", 0)
            with pytest.raises(Unavailable):
                await node.publish("x", "e")
        assert client.read() == []
        await node.publish("x", "f")
        assert client.read() == ["x f {}"]


async def test_large_audience_hears_everything_in_order_and_once(autojump_clock: MockClock) -> None:
    """The subscribers of a channel, and the connections of one user; newcomers from their success on."""
    async with run_nodes(nodes=2) as nodes:
        clients = [Client(nodes[number % 2].hub) for number in range(600)]
        for client in clients:
            client.subscribe("x")
            client.sign_in("ann")
        await settle(2)
        assert all(sorted(client.read()) == ["signed in ann", "subscribed x"] for client in clients)
        late = Client(nodes[0].hub)
        for number in range(6):
            await nodes[0].publish("x", f"e{number}")
            await nodes[1].send("ann", f"u{number}")
            if number == 2:
                late.subscribe("x")
                clients[0].unsubscribe("x")
                clients[0].read()
        assert nodes[0].hub.fanout.backlog  # what follows is about frames that wait
        await settle(2)
        channel = [f"x e{number} {{}}" for number in range(6)]
        user = [f"#server-to-user-ann u{number} {{}}" for number in range(6)]
        for client in clients[1:]:
            told = client.read()
            assert [words for words in told if words.startswith("x ")] == channel
            assert [words for words in told if words.startswith("#")] == user
        assert late.read() == ["subscribed x", *channel[3:]]
        assert not [words for words in clients[0].read() if words.startswith("x ")]


async def test_bug_in_a_subscription_ends_one_connection_only(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged and counted; the cluster member and the others live on."""
    async with run_nodes() as (node,):
        other, client = await subscribed(node, "y"), Client(node.hub)
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr("node.protocol.frames.encode_subscription_succeeded", None)
            client.subscribe("x")
            await settle()
        assert (client.read(), client.close_code) == (["error 4100"], 4100)
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["a subscription was not completed"]
        node.expected_errors = 1
        await node.publish("y", "e")
        await settle()
        assert other.read() == ["y e {}"]


# -- members ----------------------------------------------------------------------------------------------------------


async def test_members_are_told_of_each_other_once_in_the_cluster(autojump_clock: MockClock) -> None:
    """Everybody who is there at the success, then who comes and who goes; never oneself (6.5)."""
    async with run_nodes(nodes=2) as nodes:
        ann = await entered(nodes[0], "presence-x", "ann")
        assert ann.read() == ["subscribed presence-x ann"]
        bea = await entered(nodes[1], "presence-x", "bea")
        assert read(ann, bea) == [["presence-x + bea"], ["subscribed presence-x ann bea"]]
        cid = await entered(nodes[0], "presence-x", "cid")
        assert read(ann, bea, cid) == [["presence-x + cid"], ["presence-x + cid"], ["subscribed presence-x ann bea cid"]]
        bea.unsubscribe("presence-x")
        await settle(0.05)
        assert read(ann, bea, cid) == [["presence-x - bea"], [], ["presence-x - bea"]]
        ann.end()
        await settle(LINGER)
        assert read(ann, bea, cid) == [[], [], ["presence-x - ann"]]


@pytest.mark.parametrize("where", [0, 1])
async def test_member_comes_and_goes_once_whatever_the_number_of_connections(autojump_clock: MockClock, where: int) -> None:
    """The same user's other connection makes no event, on whatever node, and is told no event of itself (6.5)."""
    async with run_nodes(nodes=2) as nodes:
        witness = await entered(nodes[0], "presence-x", "witness")
        first = await entered(nodes[1], "presence-x", "ann")
        second = await entered(nodes[where], "presence-x", "ann")
        assert read(witness, first, second) == [
            ["subscribed presence-x witness", "presence-x + ann"],
            ["subscribed presence-x ann witness"],
            ["subscribed presence-x ann witness"],
        ]
        first.unsubscribe("presence-x")
        await settle(LINGER)
        assert read(witness, first, second) == [[], [], []]
        second.end()
        await settle(LINGER)
        assert witness.read() == ["presence-x - ann"]


async def test_member_who_reloads_the_page_makes_no_noise(autojump_clock: MockClock) -> None:
    """A close lingers, also when the user comes back elsewhere; an unsubscribe does not."""
    async with run_nodes(nodes=2) as nodes:
        witness = await entered(nodes[0], "presence-x", "witness")
        ann = await entered(nodes[0], "presence-x", "ann")
        witness.read()
        ann.end()
        ann = await entered(nodes[1], "presence-x", "ann")
        await settle(LINGER)
        assert witness.read() == []
        ann.unsubscribe("presence-x")
        await settle(0.05)
        assert witness.read() == ["presence-x - ann"]


async def test_members_tell_the_info_that_was_signed(autojump_clock: MockClock) -> None:
    """A number is text everywhere, an info is passed on as it is, and missing it is an empty object (6.5)."""
    async with run_nodes(nodes=2) as nodes:
        ann = await entered(nodes[0], "presence-x", "ann")
        ann.read()
        ten = Client(nodes[1].hub)
        ten.enter("presence-x", 10, {"name": "Ada ü"})
        await settle()
        (added,), (success,) = ann.read_frames(), ten.read_frames()
        assert json.loads(read_message(added)["data"]) == {"user_id": "10", "user_info": {"name": "Ada ü"}}
        hashed = {"ann": {}, "10": {"name": "Ada ü"}}
        assert json.loads(read_message(success)["data"])["presence"]["hash"] == hashed


async def test_first_info_of_a_member_stays(autojump_clock: MockClock) -> None:
    """Nobody would be told of another (6.5)."""
    async with run_nodes() as (node,):
        for info in ("first", "second"):
            client = Client(node.hub)
            client.enter("presence-x", "ann", info)
            await settle()
            (success,) = client.read_frames()
            assert json.loads(read_message(success)["data"])["presence"]["hash"] == {"ann": "first"}


async def test_member_who_comes_back_is_told_the_info_that_is_true_now(autojump_clock: MockClock) -> None:
    """Though nobody joins or leaves meanwhile: what was told before is not told again."""
    async with run_nodes(nodes=2) as nodes:
        member = Client(nodes[0].hub)
        member.enter("presence-x", "ada", {"at": "home"})
        await settle()
        other = await entered(nodes[0], "presence-x", "bob")
        assert read_info(other, "ada") == {"at": "home"}
        member.end()
        back = Client(nodes[0].hub)
        back.enter("presence-x", "ada", {"at": "work"})
        await settle()
        assert read_info(back, "ada") == {"at": "work"}
        again = await entered(nodes[1], "presence-x", "bob")
        assert read_info(again, "ada") == {"at": "work"}


def read_info(client: Client, user: str) -> object:
    """What a success tells of a member."""
    (success,) = [message for message in map(read_message, client.read_frames()) if message["event"].endswith("succeeded")]
    return json.loads(success["data"])["presence"]["hash"][user]


async def test_members_are_as_many_as_the_app_says(autojump_clock: MockClock) -> None:
    """A further connection of a member is no further member (6.5)."""
    app = app_with(presence_members=2)
    async with run_nodes(app, nodes=2) as nodes:
        ann = await entered(nodes[0], "presence-x", "ann", app=app)
        bea = await entered(nodes[1], "presence-x", "bea", app=app)
        again = await entered(nodes[1], "presence-x", "ann", app=app)
        assert again.read() == ["subscribed presence-x ann bea"]
        cid = await entered(nodes[1], "presence-x", "cid", app=app)
        assert cid.read() == ["refused presence-x LimitReached 4100", "error None"]
        assert cid.close_code is None
        assert read(ann, bea) == [["subscribed presence-x ann", "presence-x + bea"], ["subscribed presence-x ann bea"]]
        bea.unsubscribe("presence-x")
        await settle()
        cid.enter("presence-x", "cid")
        await settle()
        assert cid.read() == ["subscribed presence-x ann cid"]


async def test_member_is_not_signed_in_and_a_user_is_no_member(autojump_clock: MockClock) -> None:
    """Presence is not user sign-in: neither user events nor watchers know a member, and no channel knows a user."""
    async with run_nodes(nodes=2) as nodes:
        watcher = Client(nodes[0].hub)
        watcher.sign_in("watcher", ["ann"])
        await settle()
        member = await entered(nodes[1], "presence-x", "ann")
        await nodes[0].send("ann", "e")
        assert await nodes[0].hub.audience.count_user(APP, "ann") == 0
        assert await nodes[0].hub.audience.terminate_user(APP, "ann") == 0
        assert read(watcher, member) == [["signed in watcher", "offline ann"], ["subscribed presence-x ann"]]
        bea = Client(nodes[0].hub)
        bea.sign_in("bea")
        await settle()
        assert await nodes[0].hub.audience.members(APP, "presence-x") == ["ann"]
        assert member.read() == []
        assert member.close_code is None


async def test_signed_in_user_is_the_member_without_channel_data(autojump_clock: MockClock) -> None:
    """As pusher-js does after signing in; signing in again changes nothing in the channel (2.8)."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        raw = '{"id":"ann","user_info":{"name":"Ann"}}'
        client.say("pusher:signin", sign_in_data(client.socket_id, APP, raw))
        await settle()
        client.subscribe("presence-x")
        await settle()
        client.say("pusher:signin", sign_in_data(client.socket_id, APP, user_data("ann")))
        await settle()
        assert client.read() == ["signed in ann", "subscribed presence-x ann", "signed in ann"]
        assert await node.hub.audience.members(APP, "presence-x") == ["ann"]


# -- client events ----------------------------------------------------------------------------------------------------

CHATTY = app_with(client_events=True)


@pytest.mark.parametrize("channel", ["private-x", "private-cache-x"])
async def test_client_event_reaches_all_other_subscribers(autojump_clock: MockClock, channel: str) -> None:
    """On every node, not the sender; nothing but JSON text in a string travels as data, and names no user (7)."""
    async with run_nodes(CHATTY, nodes=2) as nodes:
        sender, *others = [await subscribed(node, channel, app=CHATTY) for node in (nodes[0], *nodes)]
        sender.trigger(channel, "client-typing", {"a": [1]}, user_id="liar")
        sender.trigger(channel, "client-typing", "as it is")
        await settle()
        assert sender.read() == []
        assert read(*others) == [[f'{channel} client-typing {{"a": [1]}}', f"{channel} client-typing as it is"]] * 2


async def test_client_event_of_a_member_names_who_was_signed(autojump_clock: MockClock) -> None:
    """Never what the frame says, and not whom the connection is signed in as if that is another (7)."""
    async with run_nodes(CHATTY, nodes=2) as nodes:
        sender = Client(nodes[0].hub, CHATTY)
        sender.sign_in("ann")
        await settle()
        sender.enter("presence-x", 10)
        await settle()
        other = await entered(nodes[1], "presence-x", "bea", app=CHATTY)
        other.read()
        sender.trigger("presence-x", "client-x", "{}", user_id="bea")
        await settle()
        assert other.read() == ["presence-x client-x {} by 10"]


async def test_client_event_is_told_to_webhooks_once(autojump_clock: MockClock) -> None:
    """On the sender's node, with what is known of the sender."""
    webhooks = Noted()
    async with run_nodes(CHATTY, nodes=2) as nodes:
        sender = await entered(nodes[0], "presence-x", 10, app=CHATTY)
        await subscribed(nodes[1], "private-x", app=CHATTY)
        for node in nodes:
            node.hub.tell_webhooks(webhooks)
        sender.trigger("presence-x", "client-a", {"b": 1}, user_id="liar")
        sender.trigger("private-x", "client-a", "refused")
        await settle()
        assert webhooks.told == [("presence-x", "client-a", '{"b": 1}', sender.socket_id, "10")]


async def test_client_events_are_counted_by_what_became_of_them(autojump_clock: MockClock) -> None:
    """Accepted, refused, or over the rate; nobody else hears the latter two."""
    async with run_nodes(CHATTY) as (node,):
        sender, other = [await subscribed(node, "private-x", app=CHATTY) for _ in range(2)]
        for _ in range(12):
            sender.trigger("private-x")
        sender.trigger("private-y")
        await settle()
        assert sender.read() == ["error 4301", "error 4301", "error 4009"]
        assert other.read() == ["private-x client-x {}"] * 10
        results = {
            result: node.value("client_events_total", app=APP.id, result=result)
            for result in ("accepted", "refused", "over the rate")
        }
        assert results == {"accepted": 10, "refused": 1, "over the rate": 2}


async def test_client_event_is_lost_elsewhere_when_the_bus_is_away(autojump_clock: MockClock) -> None:
    """Those here hear it; the sender is not punished."""
    async with run_nodes(CHATTY, nodes=2) as nodes:
        sender, here, there = [await subscribed(node, "private-x", app=CHATTY) for node in (nodes[0], *nodes)]
        nodes[0].lose_bus()
        sender.trigger("private-x")
        await settle()
        assert read(sender, here, there) == [[], ["private-x client-x {}"], []]


# -- counts -----------------------------------------------------------------------------------------------------------

COUNTED = app_with(subscription_count=True)


@pytest.mark.parametrize("channel", ["x", "private-x", "private-encrypted-x"])
async def test_subscribers_are_told_how_many_they_are_in_the_cluster(autojump_clock: MockClock, channel: str) -> None:
    """On each change, the new one included, after its success (6.7)."""
    async with run_nodes(COUNTED, nodes=2) as nodes:
        clients: list[Client] = []
        for number, node in enumerate((*nodes, nodes[0]), 1):
            client = Client(node.hub, COUNTED)
            client.subscribe(channel)
            await settle()
            assert client.read() == [f"subscribed {channel}", f"{channel} has {number}"]
            assert read(*clients) == [[f"{channel} has {number}"]] * len(clients)
            clients.append(client)
        clients.pop().end()
        await settle()
        assert read(*clients) == [[f"{channel} has 2"]] * 2


async def test_members_are_told_no_counts(autojump_clock: MockClock) -> None:
    """They have their own (6.7)."""
    async with run_nodes(COUNTED) as (node,):
        ann, bea = [await entered(node, "presence-x", user, app=COUNTED) for user in ("ann", "bea")]
        await settle(2)
        assert read(ann, bea) == [["subscribed presence-x ann", "presence-x + bea"], ["subscribed presence-x ann bea"]]


async def test_subscribers_are_told_no_counts_unless_the_app_wants_them(autojump_clock: MockClock) -> None:
    """Off by default."""
    async with run_nodes() as (node,):
        clients = [await subscribed(node, "x") for _ in range(2)]
        await settle(2)
        assert read(*clients) == [[], []]


async def test_many_subscribers_are_told_their_number_every_five_seconds(autojump_clock: MockClock) -> None:
    """Above 100, and at the end what is true then (6.7)."""
    async with run_nodes(COUNTED, nodes=2) as nodes:
        first = await subscribed(nodes[0], "x", app=COUNTED)
        crowd = [await subscribed(nodes[1], "x", app=COUNTED) for _ in range(110)]
        told = [words for words in first.read() if "has" in words]
        assert told[:2] == ["x has 2", "x has 3"]
        assert "x has 101" in told
        assert len(told) < 100 + 110 * 0.5 / 5 + 3
        await settle(6)
        assert (told + first.read()).count("x has 111") == 1
        for client in crowd:
            client.end()
            await settle(0.2)
        await settle(6)
        assert [words for words in first.read() if "has" in words][-1] == "x has 1"


async def test_subscriber_is_told_the_number_although_somebody_left_at_the_same_time(autojump_clock: MockClock) -> None:
    """No change for the cluster is news for a newcomer."""
    async with run_nodes(COUNTED) as (node,):
        old, stays = [await subscribed(node, "x", app=COUNTED) for _ in range(2)]
        await settle(2)
        stays.read()
        new = Client(node.hub, COUNTED)
        new.subscribe("x")
        old.end()
        await settle(2)
        assert read(new, stays) == [["subscribed x", "x has 2"], ["x has 2"]]


# -- cache channels ---------------------------------------------------------------------------------------------------

CACHES = ("cache-x", "private-cache-x", "private-encrypted-cache-x", "presence-cache-x")


async def come(node: Node, channel: str, user: str = "ann", *, app: App = APP) -> Client:
    """A client that is subscribed, whatever the channel is; nothing is read."""
    client = Client(node.hub, app)
    client.subscribe(channel, member_data(user) if channel.startswith("presence-") else None)
    await settle()
    return client


@pytest.mark.parametrize("channel", CACHES)
async def test_subscriber_is_told_the_last_event_or_that_there_is_none(autojump_clock: MockClock, channel: str) -> None:
    """Right after the success, on every node; also when nobody was there when it was published (6.6)."""
    who = " ann" if channel.startswith("presence-") else ""
    async with run_nodes(nodes=3) as nodes:
        for node in nodes:
            assert (await come(node, channel)).read() == [f"subscribed {channel}{who}", f"{channel} pusher:cache_miss {{}}"]
        for number, node in enumerate(nodes):
            await node.publish(channel, f"e{number}", but_for="1.1")
            await settle()
            for other in nodes:
                told = [f"subscribed {channel}{who}", f"{channel} e{number} {{}}"]
                assert (await come(other, channel)).read() == told


async def test_kept_event_is_the_one_that_was_published_last_with_nobody_there(autojump_clock: MockClock) -> None:
    """The whole frame, byte for byte; everybody else was told it once."""
    async with run_nodes(nodes=2) as nodes:
        for number in range(3):
            await nodes[number % 2].publish("cache-x", "e", data=f"{number} \u00fc ")
        await settle()
        clients = [await come(node, "cache-x") for node in nodes]
        for client in clients:
            _, frame = client.read_frames()
            assert read_message(frame) == {"event": "e", "channel": "cache-x", "data": "2 \u00fc "}
        await nodes[0].publish("cache-x", "live")
        await settle()
        assert read(*clients) == [["cache-x live {}"]] * 2


async def test_client_events_are_not_kept(autojump_clock: MockClock) -> None:
    """Only the app's server says what the state of a channel is (6.6)."""
    async with run_nodes(CHATTY, nodes=2) as nodes:
        sender = await come(nodes[0], "private-cache-x", app=CHATTY)
        sender.trigger("private-cache-x")
        await settle()
        told = ["subscribed private-cache-x", "private-cache-x pusher:cache_miss {}"]
        for node in nodes:
            assert (await come(node, "private-cache-x", app=CHATTY)).read() == told


async def test_kept_event_ends_with_its_time(autojump_clock: MockClock) -> None:
    """As the app says, also where somebody was there all the time (6.6)."""
    app = app_with(cache_ttl=10.0)
    async with run_nodes(app, nodes=2) as nodes:
        await come(nodes[0], "cache-x", app=app)
        await nodes[1].publish("cache-x", "e", app=app)
        await settle(8)
        cached = await nodes[1].hub.audience.cached(app, "cache-x")
        assert cached is not None
        assert (cached.event, cached.data, 1.5 < cached.ttl <= 2) == ("e", "{}", True)
        assert [(await come(node, "cache-x", app=app)).read()[1] for node in nodes] == ["cache-x e {}"] * 2
        await settle(3)
        assert await nodes[1].hub.audience.cached(app, "cache-x") is None
        miss = "cache-x pusher:cache_miss {}"
        assert [(await come(node, "cache-x", app=app)).read()[1] for node in nodes] == [miss] * 2


async def test_missed_cache_is_told_to_webhooks_by_each_subscriber(autojump_clock: MockClock) -> None:
    """They tell it once."""
    webhooks = Noted()
    async with run_nodes() as (node,):
        node.hub.tell_webhooks(webhooks)
        await come(node, "cache-x")
        await node.publish("cache-x", "e")
        await come(node, "cache-x")
        assert webhooks.told == [("cache_miss", "cache-x")]


async def test_subscriber_who_leaves_while_the_cache_is_asked_is_told_nothing(autojump_clock: MockClock) -> None:
    """Nor is it a subscriber."""
    async with run_nodes(nodes=3) as nodes:
        for number in range(10):
            client = Client(nodes[0].hub)
            client.subscribe(f"cache-{number}")
            await trio.sleep(0.0005 * number)
            before = client.read()
            client.unsubscribe(f"cache-{number}")
            await settle()
            assert client.read() == []
            assert len(before) in (0, 2)
            client.end()
        await settle(QUIET)
        assert nodes[0].leftovers() == {}


# -- what the API asks ------------------------------------------------------------------------------------------------


async def test_audience_tells_what_is_occupied_in_the_whole_cluster(autojump_clock: MockClock) -> None:
    """Through every node alike; members are users, subscriptions are connections."""
    async with run_nodes(nodes=2) as nodes:
        await subscribed(nodes[0], "x", "private-x")
        await subscribed(nodes[1], "x")
        for node in (*nodes, nodes[0]):
            await entered(node, "presence-x", "ann")
        await entered(nodes[1], "presence-x", "bea")
        await subscribed(nodes[0], "x", app=OTHER_APP)
        for node in nodes:
            audience = node.hub.audience
            assert await audience.channels(APP) == {"x": 2, "private-x": 1, "presence-x": 4}
            assert await audience.channels(APP, "presence-") == {"presence-x": 4}
            assert await audience.subscription_counts(APP, ["x", "y"]) == {"x": 2, "y": 0}
            assert await audience.user_counts(APP, ["presence-x", "presence-y"]) == {"presence-x": 2, "presence-y": 0}
            assert sorted(await audience.members(APP, "presence-x")) == ["ann", "bea"]
            assert await audience.members(APP, "presence-y") == []


async def test_audience_is_unavailable_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    """Half of the truth is not told."""
    async with run_nodes(nodes=2) as nodes:
        nodes[0].lose_bus()
        audience = nodes[0].hub.audience
        for ask in (
            lambda: audience.channels(APP),
            lambda: audience.subscription_counts(APP, ["x"]),
            lambda: audience.user_counts(APP, ["presence-x"]),
            lambda: audience.members(APP, "presence-x"),
            lambda: audience.cached(APP, "cache-x"),
        ):
            with pytest.raises(Unavailable):
                await ask()


async def test_audience_does_not_take_silence_of_the_bus_for_an_empty_cache(autojump_clock: MockClock) -> None:
    """It went away after the question."""
    async with run_nodes(nodes=3) as nodes:
        asking, *keepers = sorted(nodes, key=lambda node: node.member.node_id in node.member.keepers(APP.id, "cache-x"))
        await keepers[0].publish("cache-x", "e")
        for keeper in keepers:
            keeper.lose_bus()
        asked = trio.Event()

        async def ask() -> None:
            asked.set()
            with pytest.raises(Unavailable):
                await asking.hub.audience.cached(APP, "cache-x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await asked.wait()
            asking.lose_bus()


# -- quota ------------------------------------------------------------------------------------------------------------


async def test_quota_counts_the_connections_of_the_cluster(autojump_clock: MockClock) -> None:
    """As of a heartbeat ago (1.4)."""
    app = app_with(max_connections=2)
    async with run_nodes(app, nodes=2) as nodes:
        first, second = [Client(node.hub, app) for node in nodes]
        await settle(1.5)
        assert [Client(node.hub, app).close_code for node in nodes] == [4004, 4004]
        first.end()
        await settle(1.5)
        assert [Client(node.hub, app).close_code for node in nodes] == [None, None]
        assert second.close_code is None


async def test_quota_does_not_count_connections_that_are_not_authorized_yet(autojump_clock: MockClock) -> None:
    """They are over it when they authorize themselves while there is no room (2.7)."""
    app = app_with(max_connections=1, require_authorization=True)
    async with run_nodes(app) as (node,):
        first, second, third = [Client(node.hub, app) for _ in range(3)]
        assert node.hub.listener.load()[2] == {app.id: 0}
        first.subscribe("private-x")
        await settle()
        assert first.read() == ["subscribed private-x"]
        assert node.hub.listener.load()[2] == {app.id: 1}
        assert Client(node.hub, app).close_code == 4004
        second.sign_in("ann")
        third.subscribe("private-x")
        await settle()
        assert (second.read(), second.close_code) == (["error 4004"], 4004)
        assert (third.read(), third.close_code) == (["error 4004"], 4004)
        first.end()
        assert node.hub.listener.load()[2] == {app.id: 0}


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_left_when_everybody_has_gone(autojump_clock: MockClock) -> None:
    """Whatever kind of channel, and however they went."""
    async with run_nodes(COUNTED, nodes=2) as nodes:
        for node in nodes:
            for number, channel in enumerate(KINDS):
                client = Client(node.hub, COUNTED)
                client.subscribe(channel, member_data(number) if channel.startswith("presence-") else None)
                if number % 2:
                    await settle()
                    client.unsubscribe(channel)
                elif number % 3:
                    await settle()
                client.end()
        await settle(QUIET)
        assert [node.leftovers() for node in nodes] == [{}, {}]
        for node in nodes:
            assert (node.value("subscriptions", app=APP.id), node.value("channels_here", app=APP.id)) == (0, 0)
