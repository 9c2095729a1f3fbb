"""What backends send: bodies by themselves, and whole requests with their paths, queries and signatures."""

import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

import trio

from node.protocol.api_body import DEFAULT_LIMITS, ApiEvent, decode_batch, decode_event, decode_user_event
from node.protocol.channels import is_valid_channel
from node.protocol.errors import ApiError
from node.protocol.frames import encode_event
from node.protocol.signatures import sign
from node.transport.seam import ApiRequest, ApiResponse
from tests.fuzz.damage import damaged, damaged_bytes, fields, often, several, to_json, value, word
from tests.fuzz.target import Target
from tests.unit.api.support import APP, NOW, Bench

CHANNELS = ("room", "private-x", "#server-to-user-1", "private-encrypted-x", "bad name", "")
STATUSES = {200, 400, 401, 403, 404, 405, 413, 429, 503}


def make_event(chance: Random) -> dict[str, Any]:
    """One event of a body."""
    data = chance.choice(("text", "x" * 10_241, "ü" * 5121, {"a": [1, "ü"]}, None))
    wanted = {
        "name": word(chance),
        "data": data,
        "channel": chance.choice(CHANNELS),
        "channels": several(chance, CHANNELS, 5),
        "socket_id": "1.2",
        "info": "subscription_count,user_count",
    }
    return fields(chance, wanted, 0.2)


def make_body(chance: Random) -> bytes:
    """A body for one of the routes for events, or damage done to one."""
    item: Any = make_event(chance)
    if often(chance, 0.4):
        item = {"batch": [make_event(chance) for _ in range(chance.randrange(13))]}
    text = to_json(chance, value(chance) if often(chance, 0.05) else item)
    return damaged_bytes(chance, damaged(chance, text).encode(errors="surrogatepass"))


def _outcome(decode: Callable[[], ApiEvent | tuple[ApiEvent, ...]]) -> tuple[ApiEvent, ...]:
    try:
        events = decode()
    except ApiError as error:
        assert error.status in {400, 413}
        assert error.message
        return ()
    return (events,) if isinstance(events, ApiEvent) else events


def check_body(body: bytes) -> None:
    """Events within the limits that can be encoded, or refused with 400 or 413."""
    decoders = (lambda: decode_event(body), lambda: decode_batch(body), lambda: decode_user_event(body, "1"))
    for decode in decoders:
        for event in _outcome(decode):
            assert len(event.data.encode()) <= DEFAULT_LIMITS.data
            assert event.channels
            assert all(map(is_valid_channel, event.channels))
            encode_event(event.name, event.channels[0], event.data)


def make_request(chance: Random) -> ApiRequest:
    """A request that is signed, and then perhaps damaged; or damaged and then signed, which gets further."""
    user = quote(word(chance).encode(errors="surrogatepass"), safe="")
    channel = quote(chance.choice(("presence-x", "cache-x", *CHANNELS)), safe="")
    app = chance.choice(("1001", "1001", "1001", "1002", "1003", APP.key, "%31001"))
    method, path = chance.choice((
        ("POST", f"/apps/{app}/events"),
        ("POST", f"/apps/{app}/batch_events"),
        ("POST", f"/apps/{app}/users/{user}/events"),
        ("POST", f"/apps/{app}/users/{user}/terminate_connections"),
        ("POST", f"/users/{user}/terminate_connections"),
        ("GET", f"/apps/{app}/users/{user}"),
        ("GET", f"/apps/{app}/channels"),
        ("GET", f"/apps/{app}/channels/{channel}"),
        ("GET", f"/apps/{app}/channels/{channel}/users"),
    ))  # fmt: skip
    path = damaged(chance, path) if often(chance, 0.2) else path
    method = method if often(chance, 0.95) else chance.choice(("PUT", "post", "ü", ""))
    body = b"" if method == "GET" else make_body(chance)
    query = _signed_query(chance, method, path, body)
    if often(chance, 0.3):
        query = damaged(chance, query)
    return ApiRequest(method, path, query, body, {}, "127.0.0.1:1")


def _signed_query(chance: Random, method: str, path: str, body: bytes) -> str:
    signed = fields(chance, {"auth_key": APP.key, "auth_timestamp": f"{NOW:.0f}", "auth_version": "1.0"}, 0.02, 0.02)
    if often(chance, 0.5):
        signed["info"] = chance.choice(("user_count", "subscription_count,user_count", "cache", ",", "x"))
        signed["filter_by_prefix"] = chance.choice(("presence-", "p", ""))
    if body:
        signed["body_md5"] = hashlib.md5(body).hexdigest()  # noqa: S324
    signed.update(
        {chance.choice(("info", "filter", "info[0]", "a b", "ü")): word(chance) for _ in range(chance.randrange(3))}
    )
    plain = {key.lower(): str(item) for key, item in signed.items()}
    joined = "&".join(f"{key}={plain[key]}" for key in sorted(plain))
    plain["auth_signature"] = sign(APP.secrets[-1], f"{method}\n{path}\n{joined}")
    return "&".join(f"{quote(key, errors='replace')}={quote(item, errors='replace')}" for key, item in plain.items())


_bench = Bench()


def check_request(request: ApiRequest) -> None:
    """Answered once, with a documented status and a JSON object; an error says what to do."""
    _bench.audience.calls.clear()
    answers: list[ApiResponse] = []
    if not _bench.api.handle_nowait(request, answers.append):
        answers.append(trio.run(_bench.api.handle, request))
    (response,) = answers
    assert response.status in STATUSES, response
    body = json.loads(response.body)
    assert isinstance(body, dict)
    assert response.status == 200 or body["error"]


TARGETS = (Target("bodies", make_body, check_body), Target("api", make_request, check_request))
