"""RFC 6455 at the seam: what a client's frames do."""

import pytest

from tests.conformance.conftest import Start
from tests.conformance.sites import Site
from tests.wire import ACCEPT, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, masked, upgrade_head

EURO = "€".encode()


async def test_client_gets_the_right_accept_key_when_it_upgrades(site: Site) -> None:
    """The handshake's answer proves that the server read the key, and agrees to nothing else."""
    client = await site.connect()
    response = await client.upgrade(
        "/app/k", "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: pusher"
    )
    assert response.headers["sec-websocket-accept"] == ACCEPT
    assert "sec-websocket-extensions" not in response.headers
    assert "sec-websocket-protocol" not in response.headers


async def test_session_sees_the_request_when_a_client_upgrades(site: Site) -> None:
    """Path and query arrive as they were sent, with origin, address and TLS."""
    client = await site.connect()
    await client.upgrade("/a%20b/app/k?x=%41&y", "Origin: https://a.example")
    upgrade = (await site.acceptor.session()).upgrade
    assert (upgrade.path, upgrade.query) == ("/a%20b/app/k", "x=%41&y")
    assert upgrade.origin == "https://a.example"
    assert upgrade.secure == site.secure
    assert upgrade.remote.startswith("127.0.0.1:" if site.has_addresses else "")


async def test_session_receives_frames_when_they_came_with_the_head(site: Site) -> None:
    """A client that does not wait for the answer loses nothing."""
    client = await site.connect()
    await client.send(upgrade_head() + masked(TEXT, b"early") + masked(TEXT, b"bird"))
    assert (await client.read_response(informational=True)).status == 101
    assert [await client.read_text(), await client.read_text()] == ["early", "bird"]


async def test_session_receives_a_text_when_bytes_come_one_at_a_time(site: Site) -> None:
    """Neither the head nor a frame needs to come in one piece."""
    client = await site.connect()
    await client.send_bytewise(upgrade_head())
    assert (await client.read_response(informational=True)).status == 101
    await client.send_bytewise(masked(TEXT, b"slow " * 30))
    assert await client.read_text() == "slow " * 30


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536])
async def test_session_receives_a_text_whole_when_its_length_takes_any_form(site: Site, length: int) -> None:
    """All three forms of a frame's length work, both ways."""
    client, _ = await site.open()
    await client.send(masked(TEXT, b"x" * length))
    assert await client.read_text() == "x" * length


async def test_session_receives_one_text_when_it_came_in_fragments(site: Site) -> None:
    """Fragments join, also where they cut a character, and with control frames in between."""
    client, session = await site.open()
    await client.send(masked(TEXT, b"5 " + EURO[:1], final=False))
    await client.send(masked(PING, b"still here?"))
    await client.send(masked(CONTINUATION, EURO[1:2], final=False) + masked(CONTINUATION, b"", final=False))
    await client.send(masked(PONG, b"unasked") + masked(CONTINUATION, EURO[2:]))
    assert (await client.read_frame()).payload == b"still here?"
    assert await client.read_text() == "5 €"
    assert session.texts == ["5 €"]


async def test_client_gets_a_pong_when_it_pings(site: Site) -> None:
    """A pong has the ping's payload, and a ping is a sign of life."""
    client, session = await site.open()
    touches = session.touches
    await client.send(masked(PING, b"a" * 125))
    frame = await client.read_frame()
    assert (frame.opcode, frame.payload) == (PONG, b"a" * 125)
    assert session.touches > touches
    assert session.texts == []


async def test_client_gets_no_answer_when_it_sends_a_pong(site: Site) -> None:
    """What comes next is the answer to the text."""
    client, _ = await site.open()
    await client.send(masked(PONG, b"?") + masked(TEXT, b"!"))
    assert await client.read_text() == "!"


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        pytest.param(masked(TEXT, b"x", mask=None), 1002, id="no mask"),
        pytest.param(masked(TEXT, b"x", reserved=1), 1002, id="reserved bit"),
        pytest.param(masked(TEXT, b"x", reserved=4), 1002, id="compressed without an agreement"),
        pytest.param(b"\x81\xfe\x00\x05" + b"\0" * 4 + b"hello", 1002, id="length in more bytes than needed"),
        pytest.param(masked(0x3, b"x"), 1002, id="unknown opcode"),
        pytest.param(masked(0xB), 1002, id="unknown control opcode"),
        pytest.param(masked(PING, b"x", final=False), 1002, id="fragmented ping"),
        pytest.param(masked(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(masked(CONTINUATION, b"x"), 1002, id="nothing to continue"),
        pytest.param(masked(TEXT, b"x", final=False) + masked(TEXT, b"y"), 1002, id="text within a text"),
        pytest.param(masked(CLOSE, b"\x03"), 1002, id="half a close code"),
        pytest.param(closing(999), 1002, id="close code too low"),
        pytest.param(closing(1005), 1002, id="close code not for the wire"),
        pytest.param(closing(5000), 1002, id="close code too high"),
        pytest.param(closing(1000, b"\xff"), 1007, id="close reason not UTF-8"),
        pytest.param(masked(TEXT, b"\xff"), 1007, id="text not UTF-8"),
        pytest.param(masked(TEXT, b"\xed\xa0\x80"), 1007, id="lone surrogate"),
        pytest.param(masked(TEXT, EURO[:2]), 1007, id="text ends within a character"),
        pytest.param(masked(TEXT, EURO[:1], final=False) + masked(CONTINUATION, b"x"), 1007, id="broken across fragments"),
        pytest.param(masked(BINARY, b"x"), 1003, id="binary"),
        pytest.param(masked(BINARY, b"x", final=False) + masked(CONTINUATION), 1003, id="binary in fragments"),
    ],
)
async def test_connection_closes_when_a_frame_is_bad(site: Site, bad: bytes, code: int) -> None:
    """The client is told with the right code, after what was offered before; the session hears of it once."""
    client, session = await site.open()
    await client.send(masked(TEXT, b"good") + bad)
    assert await client.read_text() == "good"
    closed_with, reason = await client.read_close()
    assert closed_with == code
    assert reason
    await client.send(closing(code))
    await client.read_end()
    await client.aclose()
    await session.ended()
    assert session.texts == ["good"]


async def test_session_receives_a_text_when_it_is_as_long_as_allowed(start: Start) -> None:
    """The limit itself is allowed, counted in bytes."""
    site = await start(max_message=300)
    client, _ = await site.open()
    await client.send_text("€" * 100)
    assert await client.read_text() == "€" * 100


@pytest.mark.parametrize(
    "long",
    [
        pytest.param(masked(TEXT, b"x" * 301), id="one frame"),
        pytest.param(masked(TEXT, b"x" * 100_000), id="one frame and much more"),
        pytest.param(masked(TEXT, "€".encode() * 101), id="characters of several bytes"),
        pytest.param(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"0000" + b"x" * 301, id="announced"),
        pytest.param(masked(TEXT, b"x" * 200, final=False) + masked(CONTINUATION, b"x" * 101), id="fragments"),
        pytest.param(masked(TEXT, b"", final=False) + masked(CONTINUATION, final=False) * 9999, id="no end"),
        pytest.param(masked(TEXT, b"x" * 301) + masked(PING) * 9, id="pings after it"),
    ],
)
async def test_connection_closes_with_1009_when_a_message_is_too_long(start: Start, long: bytes) -> None:
    """A long message is neither delivered nor kept, whatever shape it has and whatever follows it."""
    site = await start(max_message=300)
    client, session = await site.open()
    await client.send(long)
    assert (await client.read_close())[0] == 1009
    await client.aclose()
    await session.ended()
    assert session.texts == []


async def test_connection_stays_open_when_many_messages_add_up(start: Start) -> None:
    """The limit is each message's, however many come."""
    site = await start(max_message=300)
    client, _ = await site.open()
    for _ in range(100):
        await client.send_text("x" * 200)
        assert await client.read_text() == "x" * 200


async def test_frames_stay_whole_when_pings_and_offers_mix(site: Site) -> None:
    """Pongs and texts share the stream, each whole, each kind in its order."""
    client, session = await site.open()
    sent = b""
    for i in range(200):
        sent += masked(PING, str(i).encode()) + masked(TEXT, str(i).encode() * 50)
    await client.send(sent)
    frames = [await client.read_frame() for _ in range(400)]
    assert [f.payload for f in frames if f.opcode == PONG] == [str(i).encode() for i in range(200)]
    assert [f.payload for f in frames if f.opcode == TEXT] == [str(i).encode() * 50 for i in range(200)]
    assert len(session.texts) == 200
