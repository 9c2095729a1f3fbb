"""Clients that bend the rules are told which one, and stay connected; nobody else notices, and no node logs an error.

Raw WebSocket messages, since no library would send them. Broken frames are the business of tests/conformance.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.client import Credentials
from tests.compat.apps import GUARDED, MAIN, OTHER, token, user_data, users
from tests.compat.browser import Browser
from tests.compat.conftest import BackendAt, Nodes
from tests.processes import LOOPBACK, Node
from tests.wire import WireClient

PONG = {"event": "pusher:pong", "data": {}}


class RawClient(WireClient):
    """An established connection on which anything can be said."""

    socket_id = ""

    async def say(self, event: str, data: object) -> None:
        """Send a well-formed message."""
        await self.send_text(json.dumps({"event": event, "data": data}))

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        message = json.loads(await self.read_text())
        assert isinstance(message, dict)
        return message

    async def is_told(self, code: int | None, text: str) -> None:
        """The next message must be an error with this code and a message that contains the text, and the last for now."""
        message = await self.hear()
        assert message["event"] == "pusher:error"
        assert message["data"]["code"] == code
        assert text in message["data"]["message"]
        await self.is_told_no_more()

    async def is_told_no_more(self) -> None:
        """Whatever was said before is answered by now, and the connection lives."""
        await self.say("pusher:ping", {})
        assert await self.hear() == PONG

    async def sign_in(self, description: str, app: Credentials = MAIN) -> None:
        """Sign in; the answer is not heard yet."""
        await self.say("pusher:signin", token(app, self.socket_id, description))


@asynccontextmanager
async def raw_client(node: Node, app: Credentials = MAIN) -> AsyncIterator[RawClient]:
    """Connect and be established."""
    client = RawClient(await trio.open_tcp_stream(LOOPBACK, node.port))
    try:
        await client.upgrade(f"/app/{app.key}?protocol=7")
        client.socket_id = json.loads((await client.hear())["data"])["socket_id"]
        yield client
    finally:
        await client.aclose()


NOT_A_MESSAGE = "Invalid message"
TEXTS = {
    "nothing": ("", NOT_A_MESSAGE),
    "no JSON": ("hello", NOT_A_MESSAGE),
    "a list": ('["pusher:ping"]', NOT_A_MESSAGE),
    "no event": ('{"data": {}}', NOT_A_MESSAGE),
    "numeric event": ('{"event": 7}', NOT_A_MESSAGE),
    "lone surrogate": ('{"event": "\\ud800"}', NOT_A_MESSAGE),
    "deep": ('{"event": ' + "[" * 50_000 + "]" * 50_000 + "}", NOT_A_MESSAGE),
    "cut off": ('{"event": "pusher:ping"', NOT_A_MESSAGE),
    "server's event": ('{"event": "pusher:signin_success", "data": {"user_data": "{}"}}', "Unsupported event"),
    "internal event": ('{"event": "pusher_internal:watchlist_events", "data": "{}"}', "Unsupported event"),
    "long event": (json.dumps({"event": "e" * 100_000}), "Unsupported event"),
    "no data": ('{"event": "pusher:signin"}', "Missing parameter: data"),
    "empty data": ('{"event": "pusher:signin", "data": {}}', "Missing parameter: data.auth"),
    "text as data": ('{"event": "pusher:signin", "data": "x"}', "Invalid data of pusher:signin"),
    "numeric auth": ('{"event": "pusher:signin", "data": {"auth": 1, "user_data": ""}}', "Invalid data of pusher:signin"),
    "object as user_data": ('{"event": "pusher:signin", "data": {"auth": "", "user_data": {}}}', "Invalid data of"),
    "no channel": ('{"event": "pusher:subscribe", "data": {}}', "Missing parameter: data.channel"),
    "huge number": ('{"event": "pusher:subscribe", "data": {"channel": 1' + "0" * 5000 + "}}", "Invalid data of"),
    "bare client event": ('{"event": "client-x"}', "Invalid client event (must contain channel and data)"),
    "never subscribed": (
        '{"event": "pusher:unsubscribe", "data": {"channel": "c"}}',
        "No current subscription to channel c, or subscription in progress",
    ),
}


@pytest.mark.parametrize(("text", "answer"), TEXTS.values(), ids=TEXTS.keys())
async def test_client_that_talks_nonsense_is_told_so(nodes: Nodes, text: str, answer: str) -> None:
    """With an error without a code (protocol.md 1.5, 1.6)."""
    async with raw_client(nodes[0]) as client:
        await client.send_text(text)
        await client.is_told(None, answer)


TOKENS: dict[str, tuple[Callable[[str], dict[str, str]], str]] = {
    "no colon": (lambda _: {"auth": "main-key", "user_data": "{}"}, "Invalid format"),
    "empty": (lambda _: {"auth": "", "user_data": ""}, "Invalid format"),
    "another app's": (lambda socket_id: token(OTHER, socket_id, user_data("eve")), "Invalid key"),
    "a channel's": (lambda socket_id: _token_of(f"{socket_id}:#server-to-user-eve"), "Invalid signature"),
    "somebody else's": (lambda _: token(MAIN, "1.1", user_data("eve")), "Invalid signature"),
    "in capitals": (lambda socket_id: _in_capitals(token(MAIN, socket_id, user_data("eve"))), "Invalid signature"),
    "not in ASCII": (lambda _: {"auth": "main-key:é☺", "user_data": user_data("eve")}, "Invalid signature"),
    "no text": (lambda _: {"auth": "main-key:\0", "user_data": "\0"}, "Invalid signature"),
    "for a number": (lambda socket_id: token(MAIN, socket_id, user_data(7)), 'must contain an "id"'),
    "for nobody": (lambda socket_id: token(MAIN, socket_id, "{}"), 'must contain an "id"'),
    "for nothing": (lambda socket_id: token(MAIN, socket_id, "null"), "must be a JSON object"),
    "for a control character": (lambda socket_id: token(MAIN, socket_id, user_data("a\nb")), 'must contain an "id"'),
    "for half a character": (lambda socket_id: token(MAIN, socket_id, '{"id": "\\ud800"}'), "Invalid user data"),
    "for a deep object": (lambda socket_id: token(MAIN, socket_id, '{"id":' * 10_000), "must be a JSON object"),
    "with a bad watchlist": (
        lambda socket_id: token(MAIN, socket_id, '{"id": "eve", "watchlist": {"ann": 1}}'),
        '"watchlist" in user_data must be an array',
    ),
}


def _token_of(text: str) -> dict[str, str]:
    return {"auth": f"{MAIN.key}:{MAIN.sign(text)}", "user_data": user_data("eve")}


def _in_capitals(answer: dict[str, str]) -> dict[str, str]:
    key, signature = answer["auth"].split(":")
    return {**answer, "auth": f"{key}:{signature.upper()}"}


@pytest.mark.parametrize(("make_token", "answer"), TOKENS.values(), ids=TOKENS.keys())
async def test_client_with_a_wrong_token_is_told_what_is_wrong(
    nodes: Nodes, make_token: Callable[[str], dict[str, str]], answer: str
) -> None:
    """With 4009; then the right token is taken on the same connection (protocol.md 2.5)."""
    (eve,) = users("eve")
    async with raw_client(nodes[0]) as client:
        await client.say("pusher:signin", make_token(client.socket_id))
        await client.is_told(4009, answer)
        await client.sign_in(user_data(eve))
        assert (await client.hear())["event"] == "pusher:signin_success"


@pytest.mark.parametrize("signed_in", [False, True])
async def test_client_cannot_listen_to_or_speak_for_another_user(
    browser: Browser, nodes: Nodes, backend: BackendAt, signed_in: bool
) -> None:
    """Neither before it signs in nor as somebody else (protocol.md 3.1)."""
    ann, eve, dee = users("ann", "eve", "dee")
    tab = await browser.sign_in(nodes[0], ann)
    async with raw_client(nodes[0]) as client:
        if signed_in:
            await client.sign_in(user_data(eve, [dee]))
            assert (await client.hear())["event"] == "pusher:signin_success"
            assert (await client.hear())["event"] == "pusher_internal:watchlist_events"
        channel = f"#server-to-user-{ann}"
        await client.say("pusher:subscribe", {"channel": channel, "auth": ""})
        await client.is_told(4009, "Sign in as this user")
        signature = f"{MAIN.key}:{MAIN.sign(f'{client.socket_id}:{channel}')}"
        await client.say("pusher:subscribe", {"channel": channel, "auth": signature})
        await client.is_told(4009, "Sign in as this user")
        for name in ("#server-to-user-", "#server-to-user", "#", f"#Server-To-User-{ann}", f"##server-to-user-{ann}"):
            await client.say("pusher:subscribe", {"channel": name, "auth": ""})
            await client.is_told(4009, "Invalid channel name")
        await client.send_text(json.dumps({"event": "client-news", "channel": channel, "data": {}}))
        await client.is_told(4009, "Cannot broadcast client event")
        await client.say("pusher:unsubscribe", {"channel": channel})
        await client.is_told_no_more()
        await backend(nodes[1]).tell(ann, "marker", 1)
        await tab.sees("marker", 1)
        await client.is_told_no_more()


async def test_client_gets_events_from_sign_in_on_and_once(nodes: Nodes, backend: BackendAt) -> None:
    """Whether it subscribes to its own channel never, often, or unsubscribes from it (protocol.md 3.1)."""
    (eve,) = users("eve")
    channel = f"#server-to-user-{eve}"
    api = backend(nodes[1])
    async with raw_client(nodes[0]) as client:
        await client.sign_in(user_data(eve))
        assert (await client.hear())["event"] == "pusher:signin_success"
        await api.tell(eve, "news", 1)
        assert await client.hear() == {"event": "news", "channel": channel, "data": "1"}
        for _ in range(3):
            await client.say("pusher:subscribe", {"channel": channel, "auth": ""})
            acknowledged = {"event": "pusher_internal:subscription_succeeded", "data": "{}", "channel": channel}
            assert await client.hear() == acknowledged
        await api.tell(eve, "news", 2)
        assert await client.hear() == {"event": "news", "channel": channel, "data": "2"}
        await client.say("pusher:unsubscribe", {"channel": channel})
        await client.is_told_no_more()
        await api.tell(eve, "news", 3)
        assert await client.hear() == {"event": "news", "channel": channel, "data": "3"}
        await client.is_told_no_more()


async def test_client_with_a_huge_watchlist_watches_the_first_hundred(nodes: Nodes) -> None:
    """As much as a message may hold: success, 4302, one frame with the state of a hundred (protocol.md 4.2)."""
    (eve,) = users("eve")
    watchlist = [f"{eve}-{i}" for i in range(7000)]
    async with raw_client(nodes[0]) as client:
        await client.sign_in(user_data(eve, watchlist))
        assert (await client.hear())["event"] == "pusher:signin_success"
        assert (await client.hear())["data"]["code"] == 4302
        state = await client.hear()
        assert json.loads(state["data"])["events"] == [{"name": "offline", "user_ids": watchlist[:100]}]
        await client.is_told_no_more()


async def test_client_with_rubbish_in_its_watchlist_watches_nobody(nodes: Nodes) -> None:
    """What cannot be an id is ignored, and a list without ids has no state to tell."""
    (eve,) = users("eve")
    rubbish = [None, 7, "", [], {"id": "ann"}, "x" * 201, "a\nb", True, [["ann"]]]
    async with raw_client(nodes[0]) as client:
        await client.sign_in(user_data(eve, rubbish))
        assert (await client.hear())["event"] == "pusher:signin_success"
        await client.is_told_no_more()


async def test_client_that_signs_in_a_hundred_times_at_once_is_signed_in_once(nodes: Nodes, backend: BackendAt) -> None:
    """As one connection, which gets events once. Answers to claims that a newer one overtook may be left out."""
    (eve,) = users("eve")
    async with raw_client(nodes[0]) as client:
        for number in range(100):
            await client.sign_in(user_data(eve, number=number))
        answer: dict[str, Any] = {"data": {"user_data": ""}}
        while answer["data"]["user_data"] != user_data(eve, number=99):
            answer = await client.hear()
            assert answer["event"] == "pusher:signin_success"
        api = backend(nodes[1])
        assert await api.connections(eve) == 1
        await api.tell(eve, "news", 1)
        assert (await client.hear())["event"] == "news"
        await client.is_told_no_more()
    await api.until_connections(eve, 0)


async def test_clients_that_leave_in_the_middle_of_signing_in_leave_no_ghost(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """On every node, without waiting for the answer. A watcher may see them come, but then also go."""
    ann, eve, dee = users("ann", "eve", "dee")
    watcher = await browser.sign_in(nodes[0], ann, [eve])
    await watcher.sees("offline", [eve])
    for node in nodes * 10:
        async with raw_client(node) as client:
            await client.sign_in(user_data(eve, [dee]))
    for node in nodes:
        await backend(node).until_connections(eve, 0)
    late = await browser.sign_in(nodes[2], dee, [eve])
    while (seen := await late.next()) != ["offline", [eve]]:
        assert seen == ["online", [eve]]
    edges = [kind for kind, _ in watcher.unseen()]
    if len(edges) % 2:
        await watcher.sees("offline", [eve])
    assert edges == (["online", "offline"] * len(edges))[: len(edges)]


async def test_client_whose_sign_in_fails_is_not_authorized(nodes: Nodes) -> None:
    """Trying is not enough where an app requires authorization (protocol.md 2.7)."""
    async with raw_client(nodes[0], GUARDED) as client:
        await client.sign_in(user_data(7), GUARDED)
        await client.is_told(4009, 'must contain an "id"')
        message = await client.hear()
        assert message["data"] == {"code": 4009, "message": "Connection not authorized within timeout"}
        assert await client.read_close() == (4009, "Connection not authorized within timeout")
