"""RFC 6455 4.2 and 9.1: becoming a WebSocket, and agreeing to nothing else. Autobahn's groups 12 and 13."""

import zlib

import pytest

from tests.conformance.rfc6455.cases import Case, play, table
from tests.conformance.sites import Site
from tests.wire import ACCEPT, BINARY, KEY, TEXT, masked, upgrade_head

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits, permessage-deflate",
    "x-webkit-deflate-frame",
    "permessage-bzip2",
    "permessage-deflate; unknown=1",
    ";;;===,,,",
]


@pytest.mark.parametrize("offer", OFFERS)
async def test_no_extension_is_agreed_on_when_a_client_offers_some(site: Site, offer: str) -> None:
    """9.1: a server need not agree; what it did not agree to is not in its answer, and does not happen."""
    client = await site.connect()
    response = await client.upgrade("/app/key", f"Sec-WebSocket-Extensions: {offer}")
    assert "sec-websocket-extensions" not in response.headers
    await client.send_text("compressible " * 50)
    assert await client.read_text() == "compressible " * 50


def deflated(raw: bytes) -> bytes:
    """What a client would send that thinks that compression was agreed on (RFC 7692 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(raw) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


COMPRESSED = [
    Case("9.1 a compressed text is refused", (masked(TEXT, deflated(b"hello" * 20), reserved=4),), (), 1002),
    Case("9.1 a compressed binary message is refused", (masked(BINARY, deflated(b"hello" * 20), reserved=4),), (), 1002),
    Case("9.1 a compressed text in fragments is refused",
         (masked(TEXT, deflated(b"hello"), reserved=4, final=False),), (), 1002),
]  # fmt: skip


@table(COMPRESSED)
async def test_client_is_refused_when_it_compresses_without_agreement(site: Site, case: Case) -> None:
    """5.2: the bit that would say so is reserved."""
    await play(site, case)


async def test_no_subprotocol_is_agreed_on_when_a_client_offers_some(site: Site) -> None:
    """4.2.2: Pusher's clients ask for none; one that does may see that it has none."""
    client = await site.connect()
    response = await client.upgrade("/app/key", "Sec-WebSocket-Protocol: wamp, pusher")
    assert "sec-websocket-protocol" not in response.headers


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(upgrade_head(), id="as browsers say it"),
        pytest.param(upgrade_head().replace(b"websocket", b"WebSocket"), id="upgrade in other case"),
        pytest.param(upgrade_head().replace(b"Upgrade: w", b"uPGRADE: w"), id="name in other case"),
        pytest.param(upgrade_head().replace(b"keep-alive, Upgrade", b"UPGRADE"), id="connection in other case"),
        pytest.param(upgrade_head().replace(b"Host: node.example", b"Host:  node.example \t"), id="blanks around a value"),
        pytest.param(upgrade_head("http://node.example/app/key"), id="absolute target"),
        pytest.param(b"\r\n" + upgrade_head(), id="empty line first"),
    ],
)
async def test_client_becomes_a_websocket_when_its_head_is_right(site: Site, head: bytes) -> None:
    """4.2.1, 4.2.2: status, the three headers, and the proof that the key was read."""
    client = await site.connect()
    await client.send_bytewise(head)
    response = await client.read_response(informational=True)
    assert response.status == 101
    assert response.headers["upgrade"].lower() == "websocket"
    assert response.headers["connection"].lower() == "upgrade"
    assert response.headers["sec-websocket-accept"] == ACCEPT


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        pytest.param(upgrade_head().replace(b"GET", b"PUT"), {400}, id="not GET"),
        pytest.param(upgrade_head().replace(b"HTTP/1.1", b"HTTP/1.0"), {400, 426}, id="HTTP 1.0"),
        pytest.param(upgrade_head().replace(b"Host: node.example\r\n", b""), {400}, id="no host"),
        pytest.param(upgrade_head().replace(b"Upgrade: websocket\r\n", b""), {426}, id="no upgrade"),
        pytest.param(upgrade_head().replace(b"keep-alive, Upgrade", b"keep-alive"), {426}, id="connection not upgraded"),
        pytest.param(upgrade_head().replace(b"Sec-WebSocket-Version: 13\r\n", b""), {426}, id="no version"),
        pytest.param(upgrade_head().replace(b": 13", b": 12"), {426}, id="another version"),
        pytest.param(upgrade_head().replace(b": 13", b": 13, 8"), {426}, id="two versions"),
        pytest.param(upgrade_head("/app/key", f"Sec-WebSocket-Key: {KEY}"), {400}, id="two keys"),
        pytest.param(upgrade_head(key=""), {400}, id="empty key"),
        pytest.param(upgrade_head(key=KEY[:-4]), {400}, id="short key"),
        pytest.param(upgrade_head().replace(b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n", b""), {400}, id="no key"),
        pytest.param(upgrade_head("/app/key", "Content-Length: 1") + b"x", {400}, id="a body"),
    ],
)
async def test_client_is_told_what_is_wrong_when_its_head_is_not_right(site: Site, head: bytes, statuses: set[int]) -> None:
    """4.2.1: every requirement is checked, and no session is opened."""
    client = await site.connect()
    await client.send_bytewise(head[:-1])
    await client.send(head[-1:])
    response = await client.read_response()
    assert response.status in statuses
    assert response.error
    if response.status == 426 and b"websocket\r\n" in head and b"keep-alive, Upgrade" in head:
        assert response.headers["sec-websocket-version"] == "13"
