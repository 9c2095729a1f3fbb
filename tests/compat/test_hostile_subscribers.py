"""Clients that want more of channels than they may have, on real nodes: no hole of other servers is one here.

Each rule of protocol.md 6, 7 and 10 that keeps somebody out. The messages are written by hand; a victim on another node
proves that nothing got through by what it hears next.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.compat.apps import CHATTY, MAIN, OTHER, fresh, subscription_token, token, user_data, users
from tests.compat.conftest import BackendAt, Nodes
from tests.compat.test_hostile_clients import RawClient, raw_client


async def subscribe(client: RawClient, channel: str, member: object = None) -> dict[str, Any]:
    """Subscribe with a signature; the answer."""
    data = subscription_token(CHATTY, client.socket_id, channel, {"user_id": member} if member else None)
    await client.say("pusher:subscribe", {**data, "channel": channel})
    return await client.hear()


async def is_refused(client: RawClient, channel: str, code: int | None, text: str) -> None:
    """The next two messages tell the channel, then the connection, which lives (6.4)."""
    message = await client.hear()
    assert (message["event"], message["channel"]) == ("pusher:subscription_error", channel)
    assert text in message["data"]["error"]
    await client.is_told(code, text)


async def trigger(client: RawClient, channel: object, data: object = "{}", event: str = "client-x", **more: object) -> None:
    """Send a client event."""
    await client.send_text(json.dumps({"event": event, "channel": channel, "data": data, **more}))


@asynccontextmanager
async def subscriber(nodes: Nodes, channel: str, member: object = None) -> AsyncIterator[RawClient]:
    """A victim, on the second node; it hears only what is meant for it."""
    async with raw_client(nodes[1], CHATTY) as client:
        assert (await subscribe(client, channel, member))["event"] == "pusher_internal:subscription_succeeded"
        yield client


async def next_event(client: RawClient) -> dict[str, Any]:
    """What it hears next, but for a cache miss."""
    while (message := await client.hear())["event"] == "pusher:cache_miss":
        pass
    return message


SUBSCRIBES: dict[str, Callable[[str, str], dict[str, str]]] = {
    "without auth": lambda _socket, _channel: {},
    "with an empty auth": lambda _socket, _channel: {"auth": ""},
    "for another channel": lambda socket, channel: subscription_token(CHATTY, socket, channel + "x"),
    "for a public channel": lambda socket, channel: subscription_token(CHATTY, socket, channel.partition("-")[2]),
    "for another connection": lambda _socket, channel: subscription_token(CHATTY, "1.1", channel),
    "by another app": lambda socket, channel: subscription_token(OTHER, socket, channel),
    "of a sign-in": lambda socket, channel: {"auth": token(CHATTY, socket, channel)["auth"]},
    "with data that nobody signed": lambda socket, channel: {
        **subscription_token(CHATTY, socket, channel),
        "channel_data": '{"user_id":"root"}',
    },
    "without the data that was signed": lambda socket, channel: {
        "auth": subscription_token(CHATTY, socket, channel, {"user_id": "eve"})["auth"]
    },
}


@pytest.mark.parametrize("how", SUBSCRIBES)
@pytest.mark.parametrize("prefix", ["private-", "presence-", "private-cache-", "presence-cache-", "private-encrypted-"])
async def test_nobody_enters_a_guarded_channel_unsigned(nodes: Nodes, backend: BackendAt, prefix: str, how: str) -> None:
    """And hears nothing of it, be it kept or live."""
    channel = fresh(prefix)
    api = backend(nodes[0], CHATTY)
    await api.post("/events", {"name": "secret", "channel": channel, "data": "kept"})
    async with raw_client(nodes[1], CHATTY) as client:
        await client.say("pusher:subscribe", {**SUBSCRIBES[how](client.socket_id, channel), "channel": channel})
        await is_refused(client, channel, 4009, "Invalid ")
        await api.post("/events", {"name": "secret", "channel": channel, "data": "live"})
        await trigger(client, channel)
        await client.is_told(4009, "Cannot broadcast client event")


@pytest.mark.parametrize("name", ["privat-x", "Private-x", "xprivate-x", "private", "presence", "my-presence-x"])
async def test_prefixes_count_at_the_start_and_whole(nodes: Nodes, name: str) -> None:
    """What only looks like a guarded channel is public: nobody is let believe otherwise by a success with members."""
    async with raw_client(nodes[0], CHATTY) as client:
        await client.say("pusher:subscribe", {"channel": name, "auth": ""})
        message = await client.hear()
        assert (message["event"], message["data"]) == ("pusher_internal:subscription_succeeded", "{}")
        await next_event_is_pong(client)
        await trigger(client, name)
        await client.is_told(4009, "only private and presence channels")


async def next_event_is_pong(client: RawClient) -> None:
    """Nothing else came."""
    await client.say("pusher:ping", {})
    assert (await next_event(client))["event"] == "pusher:pong"


@pytest.mark.parametrize("name", ["a b", "a/b", "ü", "a:b", "*", ">", "a\n", "x" * 201, "", "x#server-to-user-1"])
async def test_names_that_no_channel_has_are_refused(nodes: Nodes, name: str) -> None:
    """Whatever the bus would make of them (6.1)."""
    async with raw_client(nodes[0], CHATTY) as client:
        await client.say("pusher:subscribe", {**subscription_token(CHATTY, client.socket_id, name), "channel": name})
        await is_refused(client, name, 4009, "Invalid channel name")


@pytest.mark.parametrize("prefix", ["", "cache-", "private-encrypted-", "private-encrypted-cache-"])
async def test_subscribers_cannot_speak_where_clients_are_silent(nodes: Nodes, backend: BackendAt, prefix: str) -> None:
    """Public channels and encrypted ones (7, 10)."""
    channel = fresh(prefix)
    async with subscriber(nodes, channel) as victim, raw_client(nodes[0], CHATTY) as client:
        assert (await subscribe(client, channel))["event"] == "pusher_internal:subscription_succeeded"
        await next_event_is_pong(client)
        await trigger(client, channel)
        await client.is_told(4009, "only private and presence channels")
        await backend(nodes[2], CHATTY).post("/events", {"name": "marker", "channel": channel, "data": ""})
        assert (await next_event(victim))["event"] == "marker"


async def test_nobody_writes_to_a_user(nodes: Nodes, backend: BackendAt) -> None:
    """Not even the user itself; reserved names and those of users belong to the server (7)."""
    ann, eve = users("ann", "eve")
    async with raw_client(nodes[1], CHATTY) as victim, raw_client(nodes[0], CHATTY) as client:
        for each, user in ((victim, ann), (client, eve)):
            await each.sign_in(user_data(user), CHATTY)
            assert (await each.hear())["event"] == "pusher:signin_success"
        for name in (f"#server-to-user-{ann}", f"#server-to-user-{eve}", "#private-x", f"private-#server-to-user-{ann}"):
            await trigger(client, name)
            await client.is_told(4009, "Cannot broadcast client event")
        await backend(nodes[2], CHATTY).tell(ann, "marker", 1)
        assert (await victim.hear())["event"] == "marker"


@pytest.mark.parametrize("event", ["pusher:x", "pusher_internal:member_added", "news", "Client-x", " client-x"])
async def test_only_client_events_pass_for_client_events(nodes: Nodes, event: str) -> None:
    """Nobody speaks for the server (7)."""
    channel = fresh("private-")
    async with subscriber(nodes, channel) as client:
        await next_event_is_pong(client)
        await trigger(client, channel, event=event)
        await client.is_told(None, "Unsupported event")


async def test_sender_of_a_client_event_is_who_was_signed(nodes: Nodes) -> None:
    """Whatever the frame says, and whoever the connection is signed in as (7)."""
    channel = fresh("presence-")
    (root,) = users("root")
    async with subscriber(nodes, channel, "ann") as victim, raw_client(nodes[0], CHATTY) as client:
        await client.sign_in(user_data(root), CHATTY)
        assert (await client.hear())["event"] == "pusher:signin_success"
        assert (await subscribe(client, channel, "eve"))["event"] == "pusher_internal:subscription_succeeded"
        assert (await victim.hear())["event"] == "pusher_internal:member_added"
        await trigger(client, channel, {"a": 1}, user_id="ann")
        told = await victim.hear()
        assert (told["user_id"], json.loads(told["data"])) == ("eve", {"a": 1})
        assert set(told) == {"event", "channel", "data", "user_id"}
        await client.is_told_no_more()


async def test_client_events_have_limits(nodes: Nodes) -> None:
    """Size, names, what must be there, ten in a second; none of it closes (7)."""
    channel = fresh("private-")
    async with subscriber(nodes, channel) as victim, raw_client(nodes[0], CHATTY) as client:
        assert (await subscribe(client, channel))["event"] == "pusher_internal:subscription_succeeded"
        await next_event_is_pong(client)
        await trigger(client, channel, "x" * 10_241)
        await client.is_told(None, "exceeds the allowed maximum")
        await trigger(client, channel, event="client-" + "x" * 200)
        await client.is_told(None, "exceeds the allowed maximum")
        for text in (f'{{"event":"client-x","channel":"{channel}"}}', '{"event":"client-x","data":{}}'):
            await client.send_text(text)
            await client.is_told(None, "Invalid client event (must contain channel and data)")
        for _ in range(40):
            await trigger(client, channel)
        told = await client.hear()
        assert told["data"] == {"code": 4301, "message": "Client event rejected due to rate limit"}
        assert (await next_event(victim))["event"] == "client-x"


async def test_apps_do_not_hear_each_other(nodes: Nodes) -> None:
    """The same channel of another app is another channel, and an app that does not want client events has none."""
    channel = fresh("private-")
    async with subscriber(nodes, channel) as victim, raw_client(nodes[0], MAIN) as client:
        await client.say("pusher:subscribe", {**subscription_token(MAIN, client.socket_id, channel), "channel": channel})
        assert (await client.hear())["event"] == "pusher_internal:subscription_succeeded"
        await trigger(client, channel)
        await client.is_told(None, "you must enable this feature")
        await next_event_is_pong(victim)


async def test_members_who_are_too_many_or_too_much_are_refused(nodes: Nodes) -> None:
    """Without a code, and not a further connection of a member (6.5)."""
    channel = fresh("presence-")
    refused = ({"user_id": "u" * 129}, {"user_id": "u", "user_info": "x" * 1024}, {"user_id": "dan"})
    async with AsyncExitStack() as stack:
        for member in ("ann", "bob", "cid"):
            await stack.enter_async_context(subscriber(nodes, channel, member))
        client = await stack.enter_async_context(raw_client(nodes[1], CHATTY))
        for someone in refused:
            data = subscription_token(CHATTY, client.socket_id, channel, someone)
            await client.say("pusher:subscribe", {**data, "channel": channel})
            await is_refused(client, channel, None, "member")
        assert (await subscribe(client, channel, "ann"))["event"] == "pusher_internal:subscription_succeeded"


async def test_second_subscription_changes_nothing(nodes: Nodes) -> None:
    """Told once without a code; one event arrives once, and one unsubscribe is enough (6.4, 6.8)."""
    channel = fresh("presence-")
    async with subscriber(nodes, channel, "ann") as witness, raw_client(nodes[0], CHATTY) as client:
        assert (await subscribe(client, channel, "eve"))["event"] == "pusher_internal:subscription_succeeded"
        await subscribe_again(client, channel)
        assert (await witness.hear())["event"] == "pusher_internal:member_added"
        await client.say("pusher:unsubscribe", {"channel": channel})
        await client.is_told_no_more()
        assert (await witness.hear())["event"] == "pusher_internal:member_removed"
        await client.say("pusher:unsubscribe", {"channel": channel})
        await client.is_told(None, "No current subscription")


async def subscribe_again(client: RawClient, channel: str) -> None:
    """As somebody else even."""
    data = subscription_token(CHATTY, client.socket_id, channel, {"user_id": "bob"})
    await client.say("pusher:subscribe", {**data, "channel": channel})
    await client.is_told(None, f"Existing subscription to channel {channel}")


async def test_connection_cannot_take_channels_without_end(nodes: Nodes) -> None:
    """A thousand by default."""
    async with raw_client(nodes[0], MAIN) as client:
        for number in range(1001):
            await client.say("pusher:subscribe", {"channel": f"many-{number}"})
        told = [await client.hear() for _ in range(1002)]
        refused = [message for message in told if message["event"] != "pusher_internal:subscription_succeeded"]
        assert [message["event"] for message in refused] == ["pusher:subscription_error", "pusher:error"]
        assert refused[0]["channel"] == "many-1000"
        assert "maximum of 1000 subscriptions" in refused[1]["data"]["message"]
