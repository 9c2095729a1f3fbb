"""The same rules with a real node behind: what a Pusher client sees. `pusher:pong` is the echo of `pusher:ping`."""

import json

import pytest

from tests.conformance.rfc6455.test_utf8 import fragments
from tests.conformance.sites import Site
from tests.unit.support import APP, run_nodes
from tests.wire import BINARY, CONTINUATION, PING, PONG, TEXT, WireClient, closing, masked

ASK = b'{"event":"pusher:ping","data":{}}'
SPACIOUS = b'{"event":"pusher:ping","data":{},"note":"' + "κόσμε ".encode() * 200 + b'"}'

ANSWERED = [
    pytest.param((masked(TEXT, ASK),), ["pong"], id="5.6 one frame"),
    pytest.param(fragments(ASK, 1), ["pong"], id="5.4 a frame for each byte"),
    pytest.param(fragments(SPACIOUS, 100), ["pong"], id="5.4 frames that cut characters"),
    pytest.param((masked(TEXT, SPACIOUS),), ["pong"], id="5.2 a length in 2 bytes"),
    pytest.param((masked(TEXT, ASK.rjust(65_536)),), ["pong"], id="5.2 a length in 8 bytes"),
    pytest.param((masked(TEXT, ASK), masked(TEXT, ASK)), ["pong", "pong"], id="5.6 two at once"),
    pytest.param((masked(TEXT, ASK[:9], final=False), masked(PING, b"!"), masked(CONTINUATION, ASK[9:])), ["!", "pong"],
                 id="5.4 a ping in between"),
    pytest.param((masked(PONG, b"?"), masked(TEXT, ASK)), ["pong"], id="5.5.3 an unasked pong"),
    pytest.param((masked(TEXT, b""),), ["error"], id="5.6 an empty text is no message"),
    pytest.param((masked(TEXT, b"Hello"),), ["error"], id="5.6 text that is no JSON"),
    pytest.param((masked(TEXT, b"[]"),), ["error"], id="5.6 JSON that is no message"),
    pytest.param((masked(TEXT, '{"event":"\uffff"}'.encode()),), ["error"], id="8.1 a noncharacter is text"),
]  # fmt: skip


async def welcome(site: Site) -> WireClient:
    """A client that is connected to the site's node."""
    client = await site.connect()
    await client.upgrade(f"/app/{APP.key}?protocol=7")
    assert json.loads(await client.read_text())["event"] == "pusher:connection_established"
    return client


async def read(client: WireClient) -> str:
    """The next frame in a word."""
    frame = await client.read_frame()
    if frame.opcode == PONG:
        return frame.payload.decode()
    message = json.loads(frame.payload)
    if message["event"] == "pusher:error":
        assert message["data"]["code"] is None
    return str(message["event"]).removeprefix("pusher:")


@pytest.mark.parametrize(("sent", "answers"), ANSWERED)
async def test_client_of_a_node_gets_an_answer_and_stays_when_its_frames_are_right(
    site: Site, sent: tuple[bytes, ...], answers: list[str]
) -> None:
    """What is no Pusher message is told so; the connection goes on."""
    async with run_nodes(APP) as (node,):
        site.acceptor.instead = node.hub
        client = await welcome(site)
        await client.send(b"".join(sent))
        for piece in sent:
            await client.send(piece)
        await client.send_text(ASK.decode())
        assert [await read(client) for _ in [*answers * 2, "pong"]] == [*answers * 2, "pong"]
        await client.aclose()


REFUSED = [
    pytest.param(masked(BINARY, ASK), 1003, id="7.4.1 binary"),
    pytest.param(masked(TEXT, b"\xff"), 1007, id="8.1 not UTF-8"),
    pytest.param(masked(TEXT, b'{"event":"\xed\xa0\x80"}'), 1007, id="8.1 a surrogate"),
    pytest.param(masked(TEXT, ASK, mask=None), 1002, id="5.1 no mask"),
    pytest.param(masked(TEXT, ASK, reserved=4), 1002, id="5.2 compressed"),
    pytest.param(closing(1000), 1000, id="7.1 close"),
    pytest.param(closing(4200, b"bye"), 4200, id="7.4.2 close with a code of its own"),
    pytest.param(closing(1006), 1002, id="7.4.1 close with a code that is not for the wire"),
]


@pytest.mark.parametrize(("sent", "code"), REFUSED)
async def test_client_of_a_node_is_closed_and_forgotten_when_a_frame_ends_it(site: Site, sent: bytes, code: int) -> None:
    """After the answer to what came before, and with nothing left behind."""
    async with run_nodes(APP) as (node,):
        site.acceptor.instead = node.hub
        client = await welcome(site)
        await client.send(masked(TEXT, ASK) + sent + masked(TEXT, ASK))
        assert await read(client) == "pong"
        assert (await client.read_close())[0] == code
        await client.read_end()
        await client.aclose()
        await site.idle()
        assert node.gauges(APP) == (0, 0, 0, 0)
