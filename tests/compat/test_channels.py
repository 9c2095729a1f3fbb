"""Channels with the real pusher-js on two of the nodes: every kind that it knows without a key (protocol.md 6, 7, 11)."""

import pytest

from tests.compat.apps import CHANNELS, fresh, users
from tests.compat.browser import Browser, Tab
from tests.compat.conftest import BackendAt, Nodes

SUCCEEDED = "pusher:subscription_succeeded"


async def open_tabs(browser: Browser, nodes: Nodes) -> tuple[Tab, Tab]:
    """One tab on each of two nodes."""
    first, second = [await browser.open(node, app=CHANNELS) for node in nodes[:2]]
    return first, second


async def misses(tab: Tab, channel: str) -> None:
    """A cache channel says next that it is empty; others say nothing."""
    if "cache-" in channel:
        await tab.sees(channel, "pusher:cache_miss", {})


@pytest.mark.parametrize("prefix", ["", "private-"])
async def test_tabs_hear_what_is_published_to_their_channel(
    browser: Browser, nodes: Nodes, backend: BackendAt, prefix: str
) -> None:
    """On both nodes, through a third; and how many they are, the new one after its success."""
    channel = fresh(prefix)
    first, second = await open_tabs(browser, nodes)
    await first.subscribe(channel)
    await first.sees(channel, SUCCEEDED, {})
    await first.sees(channel, "pusher:subscription_count", {"subscription_count": 1})
    await second.subscribe(channel)
    await second.sees(channel, SUCCEEDED, {})
    for tab in (first, second):
        await tab.sees(channel, "pusher:subscription_count", {"subscription_count": 2})
    event = {"name": "news", "channel": channel, "data": '{"a": 1}'}
    await backend(nodes[2], CHANNELS).post("/events", event)
    await backend(nodes[0], CHANNELS).post("/events", {**event, "name": "more", "socket_id": second.socket_id})
    for tab in (first, second):
        await tab.sees(channel, "news", {"a": 1})
    await first.sees(channel, "more", {"a": 1})
    await second.unsubscribe(channel)
    await first.sees(channel, "pusher:subscription_count", {"subscription_count": 1})


@pytest.mark.parametrize("prefix", ["presence-", "presence-cache-"])
async def test_tabs_see_who_comes_and_goes(browser: Browser, nodes: Nodes, prefix: str) -> None:
    """`here`, `joining` and `leaving`; a number is the same user as its text, and full is told without closing."""
    channel = fresh(prefix)
    first, second = await open_tabs(browser, nodes)
    await first.subscribe(channel, {"user_id": 10, "user_info": {"name": "Ann"}})
    ann = {"id": 10, "info": {"name": "Ann"}}
    await first.sees(channel, SUCCEEDED, {"members": {"10": {"name": "Ann"}}, "count": 1, "myID": 10, "me": ann})
    await misses(first, channel)
    await second.subscribe(channel, {"user_id": "bob"})
    members = {"10": {"name": "Ann"}, "bob": {}}
    bob = {"id": "bob", "info": {}}
    await second.sees(channel, SUCCEEDED, {"members": members, "count": 2, "myID": "bob", "me": bob})
    await misses(second, channel)
    await first.sees(channel, "pusher:member_added", bob)
    await second.unsubscribe(channel)
    await first.sees(channel, "pusher:member_removed", bob)


async def test_member_comes_with_the_first_tab_and_goes_with_the_last(browser: Browser, nodes: Nodes) -> None:
    """Whichever nodes the tabs are on."""
    channel = fresh("presence-")
    witness = await browser.open(nodes[2], app=CHANNELS)
    await witness.subscribe(channel, {"user_id": "bob"})
    assert (await witness.next())[:2] == [channel, SUCCEEDED]
    first, second = await open_tabs(browser, nodes)
    await first.subscribe(channel, {"user_id": "ann", "user_info": {"name": "Ann"}})
    assert (await first.next())[:2] == [channel, SUCCEEDED]
    ann = {"id": "ann", "info": {"name": "Ann"}}
    await witness.sees(channel, "pusher:member_added", ann)
    await second.subscribe(channel, {"user_id": "ann", "user_info": {"name": "Ann"}})
    assert (await second.next())[2]["members"] == {"ann": {"name": "Ann"}, "bob": {}}
    await first.unsubscribe(channel)
    await first.subscribe(channel, {"user_id": "cid"})
    assert (await first.next())[:2] == [channel, SUCCEEDED]
    for tab in (witness, second):
        await tab.sees(channel, "pusher:member_added", {"id": "cid", "info": {}})
    await second.unsubscribe(channel)
    for tab in (witness, first):
        await tab.sees(channel, "pusher:member_removed", ann)


async def test_tabs_whisper_to_each_other(browser: Browser, nodes: Nodes) -> None:
    """To the others only, who are told who it was in the channel."""
    channel = fresh("presence-")
    first, second = await open_tabs(browser, nodes)
    for tab, name in ((first, "ann"), (second, "bob")):
        await tab.subscribe(channel, {"user_id": name})
        assert (await tab.next())[:2] == [channel, SUCCEEDED]
    await first.sees(channel, "pusher:member_added", {"id": "bob", "info": {}})
    await first.trigger(channel, "client-told", {"a": [1, "ü"]})
    seen = [await second.next() for _ in range(2)]
    assert sorted(seen, key=str) == sorted([[channel, "told by", "ann"], [channel, "client-told", {"a": [1, "ü"]}]], key=str)


@pytest.mark.parametrize("prefix", ["cache-", "private-cache-"])
async def test_tabs_are_told_the_last_event_of_a_cache_channel(
    browser: Browser, nodes: Nodes, backend: BackendAt, prefix: str
) -> None:
    """Or that there is none; on each node, whoever was there before."""
    channel = fresh(prefix)
    first, second = await open_tabs(browser, nodes)
    await first.subscribe(channel)
    await first.sees(channel, SUCCEEDED, {})
    await first.sees(channel, "pusher:cache_miss", {})
    await first.sees(channel, "pusher:subscription_count", {"subscription_count": 1})
    await backend(nodes[2], CHANNELS).post("/events", {"name": "news", "channel": channel, "data": "now"})
    await first.sees(channel, "news", "now")
    await second.subscribe(channel)
    await second.sees(channel, SUCCEEDED, {})
    await second.sees(channel, "news", "now")
    for tab in (first, second):
        await tab.sees(channel, "pusher:subscription_count", {"subscription_count": 2})


async def test_signed_in_tab_is_a_member_without_channel_data(browser: Browser, nodes: Nodes) -> None:
    """As pusher-js does it, in a cached presence channel; signing in alone made it no member (2.8)."""
    channel = fresh("presence-cache-")
    (user,) = users("ann")
    first = await browser.sign_in(nodes[0], user, app=CHANNELS)
    second = await browser.open(nodes[1], app=CHANNELS)
    await second.subscribe(channel, {"user_id": "bob"})
    kind, event, data = await second.next()
    assert (kind, event, data["members"]) == (channel, SUCCEEDED, {"bob": {}})
    await second.sees(channel, "pusher:cache_miss", {})
    await first.subscribe(channel)
    kind, event, data = await first.next()
    assert (kind, event, data["members"], data["myID"]) == (channel, SUCCEEDED, {"bob": {}, user: {}}, user)
    await first.sees(channel, "pusher:cache_miss", {})
    await second.sees(channel, "pusher:member_added", {"id": user, "info": {}})
