"""The official server SDKs for Python and Node do what applications call them for (protocol.md 8, 11)."""

import json
from collections.abc import Mapping

import pusher.errors
import pytest

from tests.client import Credentials
from tests.compat.apps import MAIN, fresh, users
from tests.compat.browser import Browser, SdkError
from tests.compat.conftest import BackendAt, Nodes
from tests.compat.test_channels import SUCCEEDED
from tests.compat.test_terminations import sees_termination

MEMBER = {"user_id": "7", "user_info": {"name": "Änn"}}
SUBSCRIPTIONS = {"private-": None, "private-cache-": MEMBER, "presence-": MEMBER, "private-encrypted-": None}
"""What is signed with each; with channel data where that is allowed but not needed, too."""
MISTAKEN = Credentials(MAIN.app_id, MAIN.key, "mistaken-secret")


async def test_python_sdk_reaches_users(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """`send_to_user`, `trigger` to the user's channel, with and without exclusion, and `trigger_batch`."""
    (ann,) = users("ann")
    one, two = [await browser.sign_in(node, ann) for node in nodes[:2]]
    sdk, channel = backend(nodes[2]), f"#server-to-user-{ann}"
    assert await sdk.call("send_to_user", ann, "news", {"a": 1}) == {}
    assert await sdk.call("trigger", channel, "news", {"a": 2}) == {}
    assert await sdk.call("trigger", [channel], "news", "a text", two.socket_id) == {}
    assert await sdk.call("trigger_batch", [{"channel": channel, "name": "marker", "data": {"a": 3}}]) == {}
    await one.sees("news", {"a": 1})
    await one.sees("news", {"a": 2})
    await one.sees("news", "a text")
    await one.sees("marker", {"a": 3})
    await two.sees("news", {"a": 1})
    await two.sees("news", {"a": 2})
    await two.sees("marker", {"a": 3})


async def test_python_sdk_terminates_users(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """Its path lacks the app: the key alone names it."""
    (ann,) = users("ann")
    tab = await browser.sign_in(nodes[0], ann)
    assert await backend(nodes[2]).call("terminate_user_connections", ann) == {}
    await sees_termination(tab)
    await tab.sees("signed in", tab.answer["user_data"])


async def test_python_sdk_vouches_for_users(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """What `authenticate_user` returns is what the client sends."""
    ann, bob = users("ann", "bob")
    sdk = backend(nodes[1])

    def authenticate(socket_id: str) -> Mapping[str, str]:
        user = {"id": ann, "name": "Änn", "watchlist": [bob]}
        answer: Mapping[str, str] = sdk.sdk.authenticate_user(socket_id, user)
        return answer

    tab = await browser.sign_in(nodes[0], ann, authenticate=authenticate)
    await tab.sees("offline", [bob])


async def test_python_sdk_says_that_its_secret_is_wrong(nodes: Nodes, backend: BackendAt) -> None:
    """In the node's words."""
    with pytest.raises(pusher.errors.PusherBadAuth, match="Invalid signature"):
        await backend(nodes[0], MISTAKEN).call("send_to_user", "ann", "news", {})


async def test_node_sdk_reaches_users(browser: Browser, nodes: Nodes) -> None:
    """`sendToUser`, and `triggerBatch` with exclusion; `trigger` itself refuses the `#` of a user's channel."""
    (ann,) = users("ann")
    one, two = [await browser.sign_in(node, ann) for node in nodes[:2]]
    event = {"channel": f"#server-to-user-{ann}", "name": "news"}
    batch = [{**event, "data": {"a": 2}, "socket_id": two.socket_id}, {**event, "data": "a text"}]
    assert await browser.call(nodes[2], "sendToUser", ann, "news", {"a": 1}) == {}
    assert await browser.call(nodes[2], "triggerBatch", batch) == {}
    for seen in ({"a": 1}, {"a": 2}, "a text"):
        await one.sees("news", seen)
    for seen in ({"a": 1}, "a text"):
        await two.sees("news", seen)


async def test_node_sdk_terminates_and_counts_users(browser: Browser, nodes: Nodes) -> None:
    """`terminateUserConnections`, and `get` for what Pusher has no method for."""
    (ann,) = users("ann")
    tab = await browser.sign_in(nodes[0], ann)
    answer = await browser.call(nodes[2], "get", {"path": f"/users/{ann}"})
    assert answer == {"online": True, "connections": 1}
    assert await browser.call(nodes[2], "terminateUserConnections", ann) == {}
    await sees_termination(tab)
    await tab.sees("signed in", tab.answer["user_data"])


async def test_node_sdk_vouches_for_users(browser: Browser, nodes: Nodes) -> None:
    """What `authenticateUser` returns is what the client sends."""
    ann, bob = users("ann", "bob")
    tab = await browser.open(nodes[0])
    user = {"id": ann, "name": "Änn", "watchlist": [bob]}
    answer = await browser.call(nodes[1], "authenticateUser", tab.socket_id, user)
    tab.authenticate = lambda _socket_id: answer
    await tab.sign_in()
    await tab.sees("signed in", answer["user_data"])
    await tab.sees("offline", [bob])


async def test_node_sdk_says_that_its_secret_is_wrong(browser: Browser, nodes: Nodes) -> None:
    """With the status, and the node's words in the body."""
    with pytest.raises(SdkError) as caught:
        await browser.call(nodes[0], "sendToUser", "ann", "news", {}, app=MISTAKEN)
    assert caught.value.status == 401
    assert "Invalid signature" in caught.value.text


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize("prefix", SUBSCRIPTIONS)
async def test_sdks_vouch_for_subscribers(
    browser: Browser, nodes: Nodes, backend: BackendAt, prefix: str, language: str
) -> None:
    """What `authenticate` of the one and `authorizeChannel` of the other return is what pusher-js sends (6.2)."""
    channel, member = fresh(prefix), SUBSCRIPTIONS[prefix]
    tab = await browser.open(nodes[0])
    if language == "python":
        signed = await backend(nodes[1]).call("authenticate", channel, tab.socket_id, member)
        answer = json.loads(json.dumps(signed, default=bytes.decode))  # the key of an encrypted channel is bytes there
    else:
        answer = await browser.call(nodes[1], "authorizeChannel", tab.socket_id, channel, *([member] if member else []))
    tab.authorize = lambda _socket_id, _channel: answer
    await tab.subscribe(channel)
    name, event, data = await tab.next()
    assert (name, event) == (channel, SUCCEEDED)
    assert data == {} or data["members"] == {"7": {"name": "Änn"}}
    if "cache-" in prefix:
        await tab.sees(channel, "pusher:cache_miss", {})
