"""HTTP/1.1 at the seam: API requests on the port of the WebSockets."""

import pytest
import trio

from node.transport.head import HttpLimits
from node.transport.seam import ApiRequest, ApiResponse
from tests.conformance.conftest import Start
from tests.conformance.sites import Site
from tests.wire import TEXT, masked, request, upgrade_head


async def test_api_sees_the_request_as_it_was_sent(site: Site) -> None:
    """Method, path and query are raw, as signatures cover them; header names are in lower case."""
    client = await site.connect()
    await client.send(request("POST", "/apps/1/%65vents?a=%2B+&b", b"[1]", "X-Twice: a", "x-tWICE: b"))
    response = await client.read_response()
    assert (response.status, response.body) == (200, b"[1]")
    assert response.headers["content-type"] == "application/json"
    (seen,) = site.api.requests
    assert (seen.method, seen.path, seen.query, seen.body) == ("POST", "/apps/1/%65vents", "a=%2B+&b", b"[1]")
    assert seen.headers["x-twice"] == "a, b"
    assert seen.remote.startswith("127.0.0.1:" if site.has_addresses else "")


async def test_client_gets_answers_in_order_when_it_pipelines(site: Site) -> None:
    """Requests that came in one read are answered one after the other, also when later ones are faster."""

    async def respond(seen: ApiRequest) -> ApiResponse:
        for _ in range(10 - int(seen.path[1:])):
            await trio.lowlevel.checkpoint()
        return ApiResponse(200, seen.path[1:].encode())

    site.api.respond = respond
    client = await site.connect()
    await client.send(b"".join(request("POST", f"/{i}", b"{}") for i in range(10)))
    assert [(await client.read_response()).body for _ in range(10)] == [b"%d" % i for i in range(10)]


async def test_client_gets_an_answer_when_bytes_come_one_at_a_time(site: Site) -> None:
    """Neither head nor body needs to come in one piece."""
    client = await site.connect()
    for body in (b"first", b"second"):
        await client.send_bytewise(request("POST", "/", body))
        assert (await client.read_response()).body == body


async def test_api_sees_the_whole_body_when_it_came_in_chunks(site: Site) -> None:
    """Chunks join; extensions and trailers are ignored; the next request follows directly."""
    client = await site.connect()
    head = request("POST", "/", b"", "Transfer-Encoding: chunked")
    chunks = b'4;x="y"\r\n\r\n\r\n\r\n3\r\nabc\r\n0\r\nTrailer: ignored\r\n\r\n'
    await client.send(head + chunks + head)
    await client.send_bytewise(chunks)
    assert (await client.read_response()).body == b"\r\n\r\nabc"
    assert (await client.read_response()).body == b"\r\n\r\nabc"
    assert "trailer" not in site.api.requests[0].headers


async def test_connection_ends_when_the_client_says_that_it_is_the_last_request(site: Site) -> None:
    """`Connection: close` is kept to and repeated; what follows it is not answered."""
    client = await site.connect()
    await client.send(request("GET", "/", b"", "Connection: close") + request("GET", "/"))
    assert (await client.read_response()).headers["connection"] == "close"
    await client.read_end()
    assert len(site.api.requests) == 1


@pytest.mark.parametrize(("header", "kept"), [("", "close"), ("Connection: keep-alive\r\n", "keep-alive")])
async def test_connection_is_kept_as_asked_when_the_client_speaks_http_1_0(site: Site, header: str, kept: str) -> None:
    """HTTP/1.0 closes by default; no Host is needed."""
    client = await site.connect()
    await client.send(f"GET / HTTP/1.0\r\n{header}\r\n".encode())
    assert (await client.read_response()).headers["connection"] == kept


async def test_client_gets_a_length_and_no_body_when_it_asks_for_the_head(site: Site) -> None:
    """HEAD is GET without the body."""
    client = await site.connect()
    await client.send(request("HEAD", "/") + request("GET", "/"))
    assert (await client.read_response(head=True)).headers["content-length"] == "2"
    assert (await client.read_response()).body == b"{}"


async def test_client_is_told_to_continue_when_it_waits_with_the_body(site: Site) -> None:
    """100 Continue is sent once, and only to a client that waits."""
    client = await site.connect()
    whole = request("POST", "/", b"body", "Expect: 100-continue")
    await client.send(whole[:-4])
    assert (await client.read_response(informational=True)).status == 100
    await client.send_bytewise(b"body")
    assert (await client.read_response()).body == b"body"
    await client.send(whole)
    assert (await client.read_response(informational=True)).status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="TLS"),
        pytest.param(b"hello\r\n", 400, id="garbage"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare line feeds"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(request("GET", "/", b"", "Host: other"), 400, id="two hosts"),
        pytest.param(b"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="raw bytes in the target"),
        pytest.param(request("GET", "/", b"x", "Content-Length: 2"), 400, id="two lengths"),
        pytest.param(request("POST", "/", b"x", "Transfer-Encoding: chunked"), 400, id="length and chunks"),
        pytest.param(request("POST", "/", b"", "Transfer-Encoding: chunked") + b"x\r\n", 400, id="no chunk size"),
        pytest.param(request("POST", "/", b"", "Transfer-Encoding: gzip, chunked"), 501, id="gzip"),
        pytest.param(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="chunks in 1.0"),
        pytest.param(request("GET", "/", b"", "Folded: a\r\n b"), 400, id="folded header"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="unknown version"),
        pytest.param(request("CONNECT", "a:80"), 405, id="proxy"),
        pytest.param(request("GET", "/", b"", "Expect: miracles"), 417, id="unknown expectation"),
        pytest.param(request("GET", "/" + "x" * 200), 414, id="long target"),
        pytest.param(b"GET /" + b"x" * 200, 414, id="long target without an end"),
        pytest.param(request("GET", "/", b"", "X: " + "x" * 400), 431, id="long head"),
        pytest.param(request("GET", "/")[:-2] + b"X: y\r\n" * 100, 431, id="head without an end"),
        pytest.param(request("POST", "/", b"x" * 301), 413, id="long body"),
        pytest.param(request("POST", "/", b"x" * 301, "Expect: 100-continue")[:-301], 413, id="announced"),
        pytest.param(
            request("POST", "/", b"", "Transfer-Encoding: chunked") + b"80\r\n" + b"x" * 128 + b"\r\n" * 9,
            400,
            id="chunk without an end",
        ),
        pytest.param(
            request("POST", "/", b"", "Transfer-Encoding: chunked") + b"80\r\n%b\r\n" % (b"x" * 128) * 3,
            413,
            id="long chunked body",
        ),
        pytest.param(
            request("POST", "/", b"", "Transfer-Encoding: chunked") + b"0\r\n" + b"X: y\r\n" * 9999,
            413,
            id="trailers without an end",
        ),
        pytest.param(
            request("POST", "/", b"", "Transfer-Encoding: chunked") + b"1;" + b"x" * 9999,
            413,
            id="chunk extension without an end",
        ),
    ],
)
async def test_client_is_told_what_is_wrong_and_closed_when_a_request_is_bad(start: Start, sent: bytes, status: int) -> None:
    """A request before it is answered; the bad one gets a JSON error; nothing after it is read."""
    site = await start(http=HttpLimits(head=300, target=100, body=300))
    client = await site.connect()
    await client.send(request("GET", "/good") + sent)
    assert (await client.read_response()).status == 200
    response = await client.read_response()
    assert (response.status, response.headers["connection"]) == (status, "close")
    assert response.headers["content-type"] == "application/json"
    assert response.error.endswith(".")
    await client.read_end()
    assert len(site.api.requests) == 1
    assert site.metrics.registry.get_sample_value("usher_errors_total", {"where": "connection"}) == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(request("GET", "/app/key?protocol=7"), 426, id="no upgrade"),
        pytest.param(upgrade_head().replace(b": 13", b": 8"), 426, id="old version"),
        pytest.param(upgrade_head(key="bm90IDE2IGJ5dGVz"), 400, id="short key"),
        pytest.param(upgrade_head(key="ü"), 400, id="key not in base64"),
        pytest.param(upgrade_head(key="dGhl!IHNhbXBsZSBub25jZQ=="), 400, id="key not all in base64"),
        pytest.param(upgrade_head().replace(b"GET", b"POST"), 400, id="wrong method"),
        pytest.param(upgrade_head("/app/k", "Content-Length: 5"), 400, id="with a body"),
    ],
)
async def test_client_is_told_what_is_wrong_when_an_upgrade_is_bad(site: Site, sent: bytes, status: int) -> None:
    """No session is opened; the error says what to send."""
    client = await site.connect()
    await client.send(sent)
    response = await client.read_response()
    assert response.status == status
    assert response.error
    if b": 8" in sent:
        assert response.headers["sec-websocket-version"] == "13"


async def test_api_sees_the_request_when_another_upgrade_is_offered(site: Site) -> None:
    """Clients that offer h2c with a body, as Java's does, are served with HTTP/1.1."""
    client = await site.connect()
    await client.send(request("POST", "/", b"body", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
    assert (await client.read_response()).body == b"body"


async def test_client_can_upgrade_when_it_made_requests_before(site: Site) -> None:
    """A kept-alive connection may still become a WebSocket, even in the same read."""
    client = await site.connect()
    await client.send(request("GET", "/") + upgrade_head() + masked(TEXT, b"hi"))
    assert (await client.read_response()).status == 200
    assert (await client.read_response(informational=True)).status == 101
    assert await client.read_text() == "hi"


async def test_client_gets_500_without_details_when_the_api_fails(site: Site) -> None:
    """A bug is logged and counted, not told; the connection goes on."""

    async def fail(_: ApiRequest) -> ApiResponse:
        await trio.lowlevel.checkpoint()
        raise KeyError("internal detail")

    site.api.respond = fail
    client = await site.connect()
    await client.send(request("GET", "/") * 2)
    response = await client.read_response()
    assert response.status == 500
    assert "internal detail" not in response.error
    assert (await client.read_response()).status == 500
    assert site.metrics.registry.get_sample_value("usher_errors_total", {"where": "api"}) == 2


async def test_client_gets_503_when_the_api_takes_too_long(start: Start) -> None:
    """Every request is answered in time."""
    site = await start(answer_timeout=0.01)

    async def hang(_: ApiRequest) -> ApiResponse:
        await trio.sleep_forever()
        raise AssertionError

    site.api.respond = hang
    client = await site.connect()
    await client.send(request("GET", "/"))
    response = await client.read_response()
    assert (response.status, response.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("sent", [b"GET / HT", request("POST", "/", b"body")[:-1]])
async def test_client_gets_408_when_its_request_is_slow(start: Start, sent: bytes) -> None:
    """Head and body together have one deadline, however many bytes trickle in."""
    site = await start(request_timeout=0.1)
    client = await site.connect()
    await client.send(sent)
    response = await client.read_response()
    assert (response.status, response.headers["connection"]) == (408, "close")
    await client.read_end()


@pytest.mark.parametrize("before", [b"", b"\r\n", request("GET", "/")])
async def test_connection_ends_silently_when_nothing_is_asked(start: Start, before: bytes) -> None:
    """An idle connection is closed without an answer, new or kept alive."""
    site = await start(request_timeout=0.1, idle_timeout=0.05)
    client = await site.connect()
    await client.send(before)
    if len(before) > 2:
        assert (await client.read_response()).status == 200
    await client.read_end()


async def test_oldest_connection_is_closed_when_too_many_have_not_asked_yet(start: Start) -> None:
    """Who says nothing keeps nobody out; those that have asked do not count, and a normal newcomer is served."""
    site = await start(max_waiting=2)
    served, _ = await site.open()
    for _ in range(5):
        silent = []
        for _ in range(3):
            silent.append(await site.connect())
            await silent[-1].send(b"GET")
            await site.idle()
        await silent[0].read_end()
        await silent[2].send(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await silent[2].read_response()).status == 200
    await served.send_text("still here")
    assert await served.read_text() == "still here"
    labels = {"limit": "waiting", "measure": "closed"}
    assert site.metrics.registry.get_sample_value("usher_oversteps_total", labels) == 9


async def test_serving_ends_when_listeners_are_closed_and_connections_end(site: Site) -> None:
    """A polite stop: idle HTTP ends at once, a request gets its answer, a WebSocket may go on."""
    idle = await site.connect()
    await idle.send(request("GET", "/"))
    await idle.read_response()
    late = await site.connect()
    await late.send(b"GET")
    client, _ = await site.open()
    await site.stop_accepting()
    await idle.read_end()
    await late.send(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await late.read_response()).headers["connection"] == "close"
    await client.send_text("on")
    assert await client.read_text() == "on"
    assert not site.stopped.is_set()
    await late.aclose()
    await client.aclose()
    with trio.fail_after(5):
        await site.stopped.wait()
