"""laravel-echo in every kind of channel, through its own methods, on two of the nodes (protocol.md 6, 7, 11).

Echo has methods for four kinds; a name that begins with `cache-` makes each the cache channel of its kind.
"""

import pytest

from tests.compat.apps import CHANNELS, OTHER, fresh, subscription_token, token, user_data, users
from tests.compat.browser import ECHO_KINDS, Browser, Tab
from tests.compat.conftest import BackendAt, Nodes

ANN = {"name": "Ann"}
BOB = {"name": "Bøb"}
MEMBERS = ({"user_id": 1, "user_info": ANN}, {"user_id": 2, "user_info": BOB})
"""As Laravel describes them: numbers, because its models' keys are."""

COUNT = ".pusher:subscription_count"
every_kind = pytest.mark.parametrize("kind", ECHO_KINDS)
with_and_without_cache = pytest.mark.parametrize("cache", ["", "cache-"])


async def open_echoes(browser: Browser, nodes: Nodes) -> tuple[Tab, Tab]:
    """One tab with Echo on each of two nodes."""
    first, second = [await browser.open(node, app=CHANNELS, library="laravel-echo") for node in nodes[:2]]
    return first, second


async def enter(tab: Tab, kind: str, name: str, number: int, kept: object = None) -> str:
    """Be the first or second to listen to a channel, and see what one sees then; the channel."""
    presence = kind == "join"
    channel = await tab.listen(kind, name, MEMBERS[number - 1] if presence else None)
    if presence:
        await tab.sees(channel, "here", [ANN, BOB][:number])
    else:
        await tab.sees(channel, "subscribed", None)
    if name.startswith("cache-"):
        await tab.sees(channel, *((".pusher:cache_miss", {}) if kept is None else (".news", kept)))
    if not presence:
        await tab.sees(channel, COUNT, {"subscription_count": number})
    return channel


@every_kind
@with_and_without_cache
async def test_echo_listens_in_every_kind_of_channel(
    browser: Browser, nodes: Nodes, backend: BackendAt, kind: str, cache: str
) -> None:
    """Who is here, who joins and leaves, what is kept, what is broadcast to all and to others."""
    name = fresh(cache)
    presence = kind == "join"
    first, second = await open_echoes(browser, nodes)
    api = backend(nodes[2], CHANNELS)
    channel = await enter(first, kind, name, 1)
    await api.call("trigger", channel, "news", {"n": 1})
    await first.sees(channel, ".news", {"n": 1})
    await enter(second, kind, name, 2, {"n": 1})
    await first.sees(channel, *(("joining", BOB) if presence else (COUNT, {"subscription_count": 2})))

    await api.call("trigger", channel, "App\\Events\\Shipped", {"n": 2}, second.socket_id)
    await first.sees(channel, "Shipped", {"n": 2})
    await backend(nodes[0], CHANNELS).call("trigger", channel, "App\\Events\\Shipped", {"n": 3}, first.socket_id)
    await second.sees(channel, "Shipped", {"n": 3})

    await first.leave(name)
    await second.sees(channel, *(("leaving", ANN) if presence else (COUNT, {"subscription_count": 1})))
    await api.call("trigger", channel, "news", {"n": 4})
    await second.sees(channel, ".news", {"n": 4})


@pytest.mark.parametrize("kind", ["private", "join"])
@with_and_without_cache
async def test_echo_whispers(browser: Browser, nodes: Nodes, kind: str, cache: str) -> None:
    """To the others, on whichever node, and not to itself; a whisper is not kept."""
    name = fresh(cache)
    first, second = await open_echoes(browser, nodes)
    channel = await enter(first, kind, name, 1)
    await enter(second, kind, name, 2)
    assert (await first.next())[1] in ("joining", COUNT)
    await first.whisper(kind, name, {"typing": [True, "ü"]})
    await second.sees(channel, "whisper", {"typing": [True, "ü"]})
    await second.whisper(kind, name, "a text")
    await first.sees(channel, "whisper", "a text")
    if cache:
        late = await browser.open(nodes[2], app=CHANNELS, library="laravel-echo")
        await late.listen(kind, name, {"user_id": 1, "user_info": ANN} if kind == "join" else None)
        assert (await late.next())[1] in ("here", "subscribed")
        await late.sees(channel, ".pusher:cache_miss", {})
        for tab in () if kind == "join" else (first, second, late):
            await tab.sees(channel, COUNT, {"subscription_count": 3})


async def test_echo_hears_why_it_may_not_listen(browser: Browser, nodes: Nodes) -> None:
    """From the node by `.error()` when the signature is wrong, and from the application when that says no."""
    name = fresh("")
    tab, _ = await open_echoes(browser, nodes)
    tab.authorize = lambda socket_id, channel: subscription_token(OTHER, socket_id, channel)
    channel = await tab.listen("private", name)
    _, what, data = await tab.next()
    assert (what, data["type"], data["status"]) == ("refused", "AuthError", 401)
    await tab.sees("error", 4009, "Invalid key in subscription auth data: 'other-key'")

    def refuse(_socket_id: str, _channel: str) -> dict[str, str]:
        raise PermissionError("not you")

    tab.authorize = refuse
    channel = await tab.listen("join", name, MEMBERS[0])
    _, what, data = await tab.next()
    assert (channel, what, data["error"]) == (f"presence-{name}", "refused", "not you")


async def test_echo_leaves_every_channel_of_a_name(browser: Browser, nodes: Nodes) -> None:
    """`Echo.leave` is for the public, private, encrypted and presence channel at once; the node says nothing back."""
    name = fresh("")
    first, second = await open_echoes(browser, nodes)
    for kind in ECHO_KINDS:
        await enter(first, kind, name, 1)
    for kind in ECHO_KINDS:
        channel = await enter(second, kind, name, 2)
        await first.sees(channel, *(("joining", BOB) if kind == "join" else (COUNT, {"subscription_count": 2})))
    await first.leave(name)
    seen = [await second.next() for _ in ECHO_KINDS]
    gone = [[prefix + name, COUNT, {"subscription_count": 1}] for kind, prefix in ECHO_KINDS.items() if kind != "join"]
    assert sorted(seen, key=str) == sorted([*gone, [f"presence-{name}", "leaving", ANN]], key=str)


async def test_echo_that_signed_in_joins_without_channel_data(browser: Browser, nodes: Nodes) -> None:
    """It is the user of its sign-in, with that user's `user_info` (2.8)."""
    (ann,) = users("ann")
    name = fresh("")
    described = user_data(ann, user_info=ANN)
    second, first = await open_echoes(browser, nodes)
    first.authenticate = lambda socket_id: token(CHANNELS, socket_id, described)
    await first.sign_in()
    await first.sees("signed in", described)
    channel = await second.listen("join", name, {"user_id": f"{ann}-other", "user_info": BOB})
    await second.sees(channel, "here", [BOB])
    await first.listen("join", name)
    _, what, here = await first.next()
    assert (what, sorted(here, key=str)) == ("here", [ANN, BOB])
    await second.sees(channel, "joining", ANN)
    await first.leave(name)
    await second.sees(channel, "leaving", ANN)
