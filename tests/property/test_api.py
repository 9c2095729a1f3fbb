"""Whatever is asked of the API, it answers: a JSON object, with a status that it knows, and never with a 500.

A request is made of parts that are valid by themselves as often as not, so that every check is reached; and when it
is signed well, it never fails for its signature.
"""

import hashlib
import json
from urllib.parse import quote

import trio
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.signatures import sign
from node.transport.seam import ApiResponse
from tests.unit.api.support import APP, NOW, Bench, make_request, read_json

STATUSES = {200, 400, 401, 403, 404, 405, 413, 429}
ANY_TEXT = st.text(st.characters())
SEGMENTS = st.sampled_from(["", "apps", "1001", "shop-key", "1003", "users", "events", "batch_events", "..", "%"])
KNOWN_PATHS = st.sampled_from(
    [
        "/apps/1001/events",
        "/apps/shop-key/batch_events",
        "/apps/1001/users/u/events",
        "/apps/1001/users/%FF/terminate_connections",
        "/users/u/terminate_connections",
        "/apps/1001/users/u",
    ]
)
PATHS = KNOWN_PATHS | st.lists(SEGMENTS | ANY_TEXT, max_size=6).map("/".join) | ANY_TEXT
METHODS = st.sampled_from(["GET", "POST", "PUT", "HEAD"]) | ANY_TEXT
QUERIES = ANY_TEXT | st.lists(
    st.sampled_from(["auth_key=shop-key", "auth_key=disabled-key", f"auth_timestamp={NOW:.0f}", "auth_version=1.0"])
    | ANY_TEXT.map("auth_signature=".__add__),
    max_size=6,
).map("&".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "data", "channel", "channels", "batch", "info", "socket_id"]), inner)
    ),
    max_leaves=10,
)
EVENTS = st.fixed_dictionaries(
    {"name": st.just("n") | ANY_TEXT, "data": st.just("d") | JSON, "channel": st.just("room") | ANY_TEXT},
    optional={"info": st.just("user_count") | JSON, "socket_id": st.just("1.2") | JSON},
)
BODIES = st.binary() | (EVENTS | EVENTS.map(lambda event: {"batch": [event]}) | JSON).map(json.dumps).map(str.encode)
USER_IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)


def ask(bench: Bench, method: str, path: str, query: str, body: bytes) -> ApiResponse:
    """The answer of an API to one request."""

    async def handle() -> ApiResponse:
        return await bench.api.handle(make_request(method, path, query, body))

    return trio.run(handle)


def sign_query(method: str, path: str, body: bytes, info: str = "") -> str:
    """A query that signs everything, with its values escaped."""
    md5 = hashlib.md5(body).hexdigest()  # noqa: S324
    plain = {"auth_key": APP.key, "auth_timestamp": f"{NOW:.0f}", "auth_version": "1.0", "body_md5": md5, "info": info}
    joined = "&".join(f"{key}={value}" for key, value in sorted(plain.items()))
    plain["auth_signature"] = sign(APP.secrets[0], f"{method}\n{path}\n{joined}")
    return "&".join(f"{key}={quote(value, safe='')}" for key, value in plain.items())


@given(METHODS, PATHS, QUERIES, BODIES)
def test_request_is_answered_whatever_it_is(method: str, path: str, query: str, body: bytes) -> None:
    """Nobody signed it, so it is refused and nothing is done."""
    bench = Bench()
    response = ask(bench, method, path, query, body)
    assert response.status in STATUSES - {200, 400, 413}
    assert read_json(response)["error"]
    assert bench.audience.calls == []


@given(st.sampled_from(["GET", "POST"]), KNOWN_PATHS, BODIES)
def test_request_is_answered_when_it_is_signed(method: str, path: str, body: bytes) -> None:
    """Any body: done, or refused for what is in it."""
    response = ask(Bench(), method, path, sign_query(method, path, body), body)
    assert response.status in {200, 400, 405, 413}
    read_json(response)


@given(USER_IDS, st.text(st.characters(exclude_categories=["Cs"])))
def test_user_of_any_id_is_found_through_its_path(user_id: str, info: str) -> None:
    """Signed plain or escaped, sent escaped."""
    escaped = f"/apps/1001/users/{quote(user_id, safe='')}"
    for signed in (escaped, f"/apps/1001/users/{user_id}"):
        bench = Bench()
        assert ask(bench, "GET", escaped, sign_query("GET", signed, b"", info), b"").status == 200
        assert bench.audience.calls == [("count", "1001", user_id)]
