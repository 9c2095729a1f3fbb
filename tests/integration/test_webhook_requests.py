"""Requests to webhooks, sent to real servers: what goes out, what counts as arrived, and where nothing is ever sent."""

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from node.config.webhooks import WebhookSettings
from node.webhooks.events import cache_miss
from node.webhooks.post import Post, Resolve, Result, make_context
from node.webhooks.request import encode_body, headers_of
from tests.receiver import Answer, Receiver, run_receiver
from tests.unit.support import APP

OPEN = WebhookSettings(allow_http=True, allow_private=True, timeout=2.0)
BODY = encode_body([cache_miss(APP.id, "cache-a").encoded], 1_700_000_000_000)


def names(**addresses: Sequence[str]) -> Resolve:
    """A DNS in which only these names are found; underscores are dots."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        del port
        await trio.lowlevel.checkpoint()
        if (found := addresses.get(host.replace(".", "_"))) is None:
            raise OSError("no such name")
        return found

    return lookup


@asynccontextmanager
async def open_post(settings: WebhookSettings = OPEN, lookup: Resolve | None = None) -> AsyncIterator[Post]:
    """A post, closed at the end."""
    context = make_context(settings)
    post = Post(settings, context) if lookup is None else Post(settings, context, lookup)
    try:
        yield post
    finally:
        await post.aclose()


async def ask(*answers: Answer) -> tuple[Result, Receiver]:
    """What becomes of one request to a server that answers so."""
    async with run_receiver(*answers) as receiver, open_post() as post:
        return await post.post(f"http://127.0.0.1:{receiver.port}/hook?a=b%20c", headers_of(APP, BODY), BODY), receiver


async def test_request_is_as_receivers_expect_it() -> None:
    """Its headers are those of the protocol, to the letter, and the signature is of the very bytes."""
    result, receiver = await ask(200)
    (request,) = receiver.requests
    assert result is Result.SUCCESS
    assert request.line == "POST /hook?a=b%20c HTTP/1.1"
    assert request.body == BODY
    assert request.headers.pop("user-agent").startswith("usher/")
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "x-pusher-key": APP.key,
        "x-pusher-signature": hmac.new(APP.secrets[0].encode(), BODY, hashlib.sha256).hexdigest(),
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (201, Result.SUCCESS),
        (204, Result.SUCCESS),
        ((302, {"Location": "http://127.0.0.1:1/"}), Result.REDIRECT),
        ((308, {"Location": "/elsewhere"}), Result.REDIRECT),
        (400, Result.STATUS),
        (410, Result.STATUS),
        (500, Result.STATUS),
        ("close", Result.UNREACHABLE),
    ],
)
async def test_request_has_arrived_when_the_answer_is_2xx(answer: Answer, expected: Result) -> None:
    """And only then; a redirect is not followed."""
    result, receiver = await ask(answer)
    assert result is expected
    assert len(receiver.requests) == 1


async def test_request_fails_when_nobody_answers_in_time() -> None:
    """Within its timeout."""
    async with (
        run_receiver("hang") as receiver,
        open_post(WebhookSettings(allow_http=True, allow_private=True, timeout=0.3)) as post,
    ):
        start = time.monotonic()
        result = await post.post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
        assert result is Result.TIMEOUT
        assert time.monotonic() - start < 2


async def test_request_fails_when_nobody_listens() -> None:
    """Nor is there such a name."""
    async with open_post(lookup=names(hook_test=["127.0.0.1"])) as post:
        assert await post.post("http://hook.test:1/", {}, b"{}") is Result.UNREACHABLE
        assert await post.post("http://other.test:1/", {}, b"{}") is Result.UNREACHABLE
    async with open_post() as post:
        assert await post.post(f"http://{'a' * 64}.test/", {}, b"{}") is Result.UNREACHABLE


async def test_connection_serves_many_requests() -> None:
    """One handshake for all of them."""
    async with run_receiver() as receiver, open_post() as post:
        for _ in range(5):
            assert await post.post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}") is Result.SUCCESS
        assert receiver.connections == 1


async def test_other_address_is_tried_when_the_first_does_not_answer() -> None:
    """As browsers do."""
    async with run_receiver() as receiver, open_post(lookup=names(hook_test=["127.0.0.9", "127.0.0.1"])) as post:
        assert await post.post(f"http://hook.test:{receiver.port}/", {}, b"{}") is Result.SUCCESS
        assert receiver.requests[0].headers["host"] == f"hook.test:{receiver.port}"


async def test_cookies_are_not_kept() -> None:
    """Nothing of an answer is believed but its status."""
    async with run_receiver((200, {"Set-Cookie": "a=b"})) as receiver, open_post() as post:
        for _ in range(2):
            await post.post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
        assert "cookie" not in receiver.requests[1].headers


# -- where nothing is sent --------------------------------------------------------------------------------------------

STRICT = WebhookSettings(allow_http=True, timeout=2.0)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1"])
async def test_address_inside_is_refused(address: str) -> None:
    """By its name, and written out."""
    async with run_receiver() as receiver, open_post(STRICT, names(hook_test=[address])) as post:
        assert await post.post(f"http://hook.test:{receiver.port}/", {}, b"{}") is Result.REFUSED
    literal = f"[{address}]" if ":" in address else address
    async with run_receiver() as receiver, open_post(STRICT) as post:
        assert await post.post(f"http://{literal}:{receiver.port}/", {}, b"{}") is Result.REFUSED
        assert not receiver.connections


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0"])
async def test_address_inside_is_refused_however_it_is_written(host: str) -> None:
    """What the system's resolver makes of it counts."""
    async with run_receiver() as receiver, open_post(STRICT) as post:
        assert await post.post(f"http://{host}:{receiver.port}/", {}, b"{}") in (Result.REFUSED, Result.UNREACHABLE)
        assert not receiver.connections


async def test_name_that_changes_its_address_gains_nothing() -> None:
    """DNS rebinding: the name is looked up once, and the connection goes to the address that was looked at."""
    lookups: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        del port
        await trio.lowlevel.checkpoint()
        lookups.append(host)
        return ["192.0.2.1"] if len(lookups) == 1 else ["127.0.0.1"]

    connected: list[str] = []

    async def refuse_to_connect(host: str, *_: object, **__: object) -> object:
        await trio.lowlevel.checkpoint()
        connected.append(host)
        raise OSError("no route in this test")

    async with run_receiver() as receiver:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio, "open_tcp_stream", refuse_to_connect)
            patch.setattr("node.webhooks.post.is_public", lambda address: address == "192.0.2.1")
            async with open_post(STRICT, rebinding) as post:
                assert await post.post(f"http://hook.test:{receiver.port}/", {}, b"{}") is Result.UNREACHABLE
        assert (lookups, connected) == (["hook.test"], ["192.0.2.1"])
        assert not receiver.connections


async def test_mixed_addresses_lead_to_the_public_ones_only() -> None:
    """The others are passed over."""
    async with run_receiver() as receiver, open_post(STRICT, names(hook_test=["10.0.0.1", "127.0.0.1"])) as post:
        assert await post.post(f"http://hook.test:{receiver.port}/", {}, b"{}") is Result.REFUSED
        assert not receiver.connections


async def test_plain_http_is_refused() -> None:
    """Unless it is allowed."""
    async with run_receiver() as receiver, open_post(WebhookSettings(allow_private=True)) as post:
        assert await post.post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}") is Result.REFUSED
        assert not receiver.connections


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the receivers' certificates."""
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A receiver's context, for this name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_https_is_verified_by_name_though_the_address_is_pinned(authority: trustme.CA, tmp_path: object) -> None:
    """The right name is taken; another one, and an unknown authority, are not."""
    ca = f"{tmp_path}/ca.pem"
    authority.cert_pem.write_to_path(ca)
    trusting = WebhookSettings(allow_private=True, ca=ca, timeout=2.0)
    lookup = names(hook_test=["127.0.0.1"], other_test=["127.0.0.1"])
    async with run_receiver(tls=server_context(authority, "hook.test")) as receiver:
        async with open_post(trusting, lookup) as post:
            assert await post.post(f"https://hook.test:{receiver.port}/", headers_of(APP, BODY), BODY) is Result.SUCCESS
            assert json.loads(receiver.requests[0].body)["events"] == [{"name": "cache_miss", "channel": "cache-a"}]
        async with open_post(trusting, lookup) as post:
            assert await post.post(f"https://other.test:{receiver.port}/", {}, b"{}") is Result.UNREACHABLE
        async with open_post(WebhookSettings(allow_private=True, timeout=2.0), lookup) as post:
            assert await post.post(f"https://hook.test:{receiver.port}/", {}, b"{}") is Result.UNREACHABLE
    assert len(receiver.requests) == 1
