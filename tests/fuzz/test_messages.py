"""Whatever a client says, it is answered within bounds, the connection stays open, and nothing goes to the log.

Arbitrary text finds the first line of a decoder and no more, so most messages begin as valid ones; and sign-ins are signed
as the backend of an attacker could sign them, so that the fuzz gets behind the signature.
"""

import json
from collections.abc import Callable

import structlog
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from node.config.apps import App
from node.protocol.frames import PING
from tests.property.test_decoding import ANY_TEXT, JSON, MESSAGES, USER_DATA, texts_of
from tests.unit.protocol.wire import read_message
from tests.unit.support import APP, Client, run_nodes, settle, sign_in_data

LONGEST_ERROR = 16_000
"""Bytes: two excerpts of a thousand characters, each of which may need an escape of six bytes."""

GROWTH = 6
"""Bytes that one byte of a client can become on its way back, escaped twice."""

CONTROLS = "\x01" * 9000
NESTED = "[" * 100_000 + "]" * 100_000 + "}"

Saying = Callable[[Client], str]
"""A text that may depend on the socket id."""


def signed(raw: str) -> Saying:
    """A good signature of any user data."""
    return lambda client: json.dumps({"event": "pusher:signin", "data": sign_in_data(client.socket_id, client.app, raw)})


def plain(text: str) -> Saying:
    """A text that depends on nothing."""
    return lambda _: text


TEXTS = (ANY_TEXT | texts_of(MESSAGES | JSON)).map(plain)
SIGN_INS = (texts_of(USER_DATA | JSON) | st.sampled_from(['{"id":"1"}', '{"id":"1","watchlist":["1","2"]}'])).map(signed)


def may_answer(text: str, client: Client, frames: list[bytes]) -> None:
    """Fail if these frames are no answer to one message of this text."""
    size = len(text.encode(errors="surrogatepass"))
    for frame in frames:
        if frame == PING:
            continue
        message = read_message(frame)
        if message["event"] == "pusher:error":
            assert message["data"]["code"] in {None, 4009, 4302}
            assert len(frame) <= LONGEST_ERROR
        else:
            assert len(frame) <= GROWTH * size + 200
    assert len(frames) <= 3
    assert client.close_code is None


async def converse(sayings: list[Saying], app: App) -> None:
    """Say it all to a node, with time to confirm in between, and see that it still listens."""
    async with run_nodes(app) as (node,):
        client = Client(node.hub, app)
        for say in sayings:
            text = say(client)
            client.say_text(text)
            await settle(0.1)
            may_answer(text, client, client.read_frames())
        client.say("pusher:ping", {})
        assert client.read() == ["pong"]
        client.end()
        assert node.gauges(app) == (0, 0, 0, 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS | SIGN_INS, min_size=1, max_size=8), st.integers(0, 2))
@example([signed('{"id":"' + "\\\\" * 200 + '"}'), plain('{"event":"' * 10_000)], 100)
@example([signed(json.dumps({"id": "1", "watchlist": ['"\\' * 100] * 3 + ["é" * 200, "#", " "]}))], 100)
@example([plain('{"event":"pusher:subscribe","data":{"channel":"#server-to-user-' + "\\u0001" * 500 + '"}}')], 100)
@example(
    [plain(json.dumps({"event": "pusher:signin", "data": {"auth": f"{APP.key}:" + CONTROLS, "user_data": CONTROLS}}))], 100
)
@example([plain(json.dumps({"event": CONTROLS}))], 100)
@example([plain(json.dumps({"event": "pusher:subscribe", "data": {"channel": CONTROLS}}))], 100)
@example([plain('{"event":"pusher:signin","data":' + NESTED), signed('{"id":"1","user_info":' + NESTED)], 100)
@example([plain("\ud800"), plain('{"event":"x","data":"\ud800"}'), signed('{"id":"\ud800"}')], 100)
def test_message_is_answered_within_bounds_whatever_it_says(sayings: list[Saying], limit: int) -> None:
    """No exception, no log line, no close: only errors that say what was wrong."""
    app = App(id=APP.id, key=APP.key, secrets=APP.secrets, watchlist_limit=limit)
    with structlog.testing.capture_logs() as logs:
        trio.run(converse, sayings, app, clock=MockClock(autojump_threshold=0))
    assert logs == []
