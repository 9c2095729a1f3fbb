"""Encrypted channels, from the official SDKs to pusher-js with tweetnacl: nodes carry and keep what they cannot read.

The node at which an event is published, those at which tabs are, and what an application answers are protocol.md 10.
"""

import json
from typing import Any

import pytest
import trio

from tests.compat.apps import CHANNELS, fresh, shared_secret, subscription_token, vouch
from tests.compat.browser import PATIENCE, Browser, Tab
from tests.compat.conftest import BackendAt, Nodes
from tests.compat.test_channels import SUCCEEDED

KINDS = ["private-encrypted-", "private-encrypted-cache-"]
SECRET = {"plan": "dawn, ünder the bridge"}


async def subscribe(tab: Tab, channel: str, kept: object, subscriptions: int) -> None:
    """Subscribe; `kept` is the event that a cache channel replays, None where it has none."""
    await tab.subscribe(channel)
    await tab.sees(channel, SUCCEEDED, {})
    if "cache-" in channel:
        await tab.sees(channel, *(("pusher:cache_miss", {}) if kept is None else ("secret", kept)))
    await tab.sees(channel, "pusher:subscription_count", {"subscription_count": subscriptions})


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize("prefix", KINDS)
async def test_tabs_read_what_an_sdk_encrypts(
    browser: Browser, nodes: Nodes, backend: BackendAt, prefix: str, language: str
) -> None:
    """Live on one node, and kept on the other; what the nodes have of it is ciphertext."""
    channel = fresh(prefix)
    first, second = [await browser.open(node, app=CHANNELS) for node in nodes[:2]]
    await subscribe(first, channel, None, 1)
    if language == "python":
        await backend(nodes[2], CHANNELS).call("trigger", channel, "secret", SECRET)
    else:
        await browser.call(nodes[2], "trigger", channel, "secret", SECRET, app=CHANNELS)
    await first.sees(channel, "secret", SECRET)
    await subscribe(second, channel, SECRET, 2)
    await first.sees(channel, "pusher:subscription_count", {"subscription_count": 2})
    if "cache-" in channel:
        kept = (await backend(nodes[2], CHANNELS).call("channel_info", channel, ["cache"]))["cache"]
        assert set(json.loads(kept["data"])) == {"nonce", "ciphertext"}
        assert "dawn" not in kept["data"]


async def test_tab_asks_its_application_again_when_it_cannot_read(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """The application changed its key: pusher-js fetches the new one, and the node hears nothing of it."""
    channel = fresh("private-encrypted-")
    asked: list[str] = []

    def authorize(socket_id: str, name: str) -> dict[str, str]:
        asked.append(name)
        key = shared_secret("of old" if len(asked) == 1 else name)
        return {**vouch(CHANNELS, socket_id, name), "shared_secret": key}

    tab = await browser.open(nodes[0], app=CHANNELS)
    tab.authorize = authorize
    await subscribe(tab, channel, None, 1)
    await backend(nodes[1], CHANNELS).call("trigger", channel, "secret", SECRET)
    await tab.sees(channel, "secret", SECRET)
    assert asked == [channel, channel]


async def test_tab_without_the_key_does_not_subscribe(browser: Browser, nodes: Nodes) -> None:
    """pusher-js sees to that, before it sends anything."""
    channel = fresh("private-encrypted-")
    tab = await browser.open(nodes[0], app=CHANNELS)
    tab.authorize = lambda socket_id, name: subscription_token(CHANNELS, socket_id, name)
    await tab.subscribe(channel)
    _, event, data = await tab.next()
    assert event == "pusher:subscription_error"
    assert "No shared_secret key" in data["error"]


async def test_secret_of_a_channel_is_not_logged_when_a_client_sends_it(browser: Browser, nodes: Nodes) -> None:
    """No library does; one that did would still be let in, and nobody would read it in a log."""
    channel = fresh("private-encrypted-")
    tab = await browser.open(nodes[0], app=CHANNELS)
    answer: dict[str, Any] = vouch(CHANNELS, tab.socket_id, channel)
    before = nodes[0].log.size
    await tab.send("pusher:subscribe", {**answer, "channel": channel})
    with trio.fail_after(PATIENCE):
        await tab.subscribed.wait()
    assert answer["shared_secret"] not in nodes[0].log.read(before)
