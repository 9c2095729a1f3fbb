"""The official server SDKs for Python and Node publish to channels and ask about them (protocol.md 8, 10, 11).

Subscribers are at other nodes than the one that is asked.
"""

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pusher.errors
import pytest
import trio
from nacl.secret import SecretBox

from tests.client import Client, connect
from tests.compat.apps import MAIN, MASTER_KEY, users
from tests.compat.browser import Browser, SdkError
from tests.compat.conftest import BackendAt, Nodes
from tests.processes import Node

PATIENCE = 10.0


async def subscribe(nursery: trio.Nursery, node: Node, channel: str, user_id: str = "") -> Client:
    """A subscriber of a channel, as a member if it is a presence channel."""
    client = await connect(nursery, MAIN, node.port)
    message = {"channel": channel}
    if user_id:
        message["channel_data"] = json.dumps({"user_id": user_id, "user_info": {"name": "Änn"}})
    if channel.startswith(("private-", "presence-")):
        signed = ":".join([client.socket_id, channel, *([message["channel_data"]] if user_id else [])])
        message["auth"] = f"{MAIN.key}:{MAIN.sign(signed)}"
    await client.send("pusher:subscribe", message)
    await client.until(lambda: any(told.event == "pusher_internal:subscription_succeeded" for told in client.told))
    return client


def heard(client: Client, name: str) -> list[Any]:
    """The data of the events of this name, in order."""
    return [told.data for told in client.told if told.event == name]


async def until_answered(ask: Callable[[], Awaitable[Any]], answer: object) -> None:
    """Ask until this is the answer: counts reach other nodes within a moment."""
    seen: object = None
    with trio.move_on_after(PATIENCE):
        while (seen := await ask()) != answer:
            await trio.sleep(0.02)
    assert seen == answer


async def test_python_sdk_reaches_channels(nursery: trio.Nursery, nodes: Nodes, backend: BackendAt) -> None:
    """`trigger` to one and several channels with and without exclusion, and `trigger_batch`."""
    room, private = users("room", "private-room")
    one, two = await subscribe(nursery, nodes[0], room), await subscribe(nursery, nodes[1], private)
    sdk = backend(nodes[2])
    assert await sdk.call("trigger", room, "news", {"a": 1}) == {}
    assert await sdk.call("trigger", [room, private], "news", "a text") == {}
    assert await sdk.call("trigger", [room, private], "news", {"a": 2}, one.socket_id) == {}
    batch = [{"channel": room, "name": "last", "data": "1"}, {"channel": private, "name": "last", "data": "2"}]
    assert await sdk.call("trigger_batch", batch) == {}
    await one.until(lambda: heard(one, "last") == [1])
    await two.until(lambda: heard(two, "last") == [2])
    assert heard(one, "news") == [{"a": 1}, "a text"]
    assert heard(two, "news") == ["a text", {"a": 2}]


async def test_python_sdk_asks_about_channels(nursery: trio.Nursery, nodes: Nodes, backend: BackendAt) -> None:
    """`channels_info`, `channel_info` and `users_info`, with all attributes."""
    room, presence = users("room", "presence-room")
    await subscribe(nursery, nodes[0], room)
    await subscribe(nursery, nodes[0], presence, "ann")
    await subscribe(nursery, nodes[1], presence, "ann")
    sdk = backend(nodes[2])
    counts = {"user_count": 1, "subscription_count": 2}
    await until_answered(
        lambda: sdk.call("channel_info", presence, ["user_count", "subscription_count"]), {"occupied": True, **counts}
    )
    await until_answered(lambda: sdk.call("channel_info", room), {"occupied": True})
    listed = await sdk.call("channels_info", presence, ["user_count"])
    assert listed == {"channels": {presence: {"user_count": 1}}}
    assert (await sdk.call("channels_info"))["channels"][room] == {}
    assert await sdk.call("users_info", presence) == {"users": [{"id": "ann"}]}
    assert await sdk.call("channel_info", f"{room}-nobody") == {"occupied": False}
    with pytest.raises(pusher.errors.PusherBadRequest, match="user_count is not available"):
        await sdk.call("channel_info", room, ["user_count"])


async def test_node_sdk_publishes_and_is_told_the_counts(nursery: trio.Nursery, browser: Browser, nodes: Nodes) -> None:
    """`trigger` and `triggerBatch` with `info` and `socket_id`."""
    room, presence = users("room", "presence-room")
    one = await subscribe(nursery, nodes[0], room)
    two = await subscribe(nursery, nodes[1], presence, "ann")
    info = {"info": "user_count,subscription_count"}
    told = {room: {"subscription_count": 1}, presence: {"user_count": 1, "subscription_count": 1}}
    await until_answered(
        lambda: browser.call(nodes[2], "trigger", [room, presence], "counted", {}, info), {"channels": told}
    )
    batch = [
        {"channel": room, "name": "news", "data": {"a": 1}, "socket_id": one.socket_id},
        {"channel": presence, "name": "news", "data": "ü", "info": "user_count"},
        {"channel": room, "name": "last", "data": "{}"},
    ]
    assert await browser.call(nodes[2], "triggerBatch", batch) == {"batch": [{}, {"user_count": 1}, {}]}
    await one.until(lambda: heard(one, "last"))
    await two.until(lambda: heard(two, "news"))
    assert (heard(one, "news"), heard(two, "news")) == ([], ["ü"])


async def test_node_sdk_asks_about_channels(nursery: trio.Nursery, browser: Browser, nodes: Nodes) -> None:
    """`get`, which is all that it has for this, with the kept event of a cache channel."""
    cache, presence = users("cache-room", "presence-room")
    await subscribe(nursery, nodes[0], presence, "ann")

    async def get(path: str, **params: str) -> Any:
        return await browser.call(nodes[2], "get", {"path": path, "params": params})

    await until_answered(
        lambda: get("/channels", filter_by_prefix=presence, info="user_count"), {"channels": {presence: {"user_count": 1}}}
    )
    assert await get(f"/channels/{presence}/users") == {"users": [{"id": "ann"}]}
    assert await get(f"/channels/{cache}", info="cache") == {"occupied": False, "cache": None}
    await browser.call(nodes[1], "trigger", cache, "moved", {"a": 1})
    kept = (await get(f"/channels/{cache}", info="cache"))["cache"]
    assert (kept["event"], kept["data"]) == ("moved", '{"a":1}')
    assert 0 < kept["ttl"] <= 1800
    with pytest.raises(SdkError) as caught:
        await get("/channels", info="user_count")
    assert (caught.value.status, "filter_by_prefix" in caught.value.text) == (400, True)


@pytest.mark.parametrize("language", ["python", "node"])
async def test_encrypted_events_pass_as_they_are(
    language: str, nursery: trio.Nursery, browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """Alone, and in a batch; with another channel beside them the request is refused (10)."""
    (room,) = users("private-encrypted-room")
    client = await subscribe(nursery, nodes[0], room)

    async def trigger(channels: object) -> Any:
        if language == "python":
            return await backend(nodes[1]).call("trigger", channels, "secret", {"a": "ü"})
        return await browser.call(nodes[1], "trigger", channels, "secret", {"a": "ü"})

    assert await trigger(room) == {}
    await client.until(lambda: heard(client, "secret"))
    (sealed,) = heard(client, "secret")
    box = SecretBox(hashlib.sha256(room.encode() + base64.b64decode(MASTER_KEY)).digest())
    opened = box.decrypt(base64.b64decode(sealed["ciphertext"]), base64.b64decode(sealed["nonce"]))
    assert json.loads(opened) == {"a": "ü"}
    body = {"name": "n", "data": "d", "channels": [room, "other"]}
    assert (await backend(nodes[1]).ask("POST", "/events", body)).status == 400
