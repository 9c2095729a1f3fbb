"""Signatures of HTTP requests, as the SDKs make them (protocol.md 8.2)."""

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from node.protocol.api_signature import arguments_of, auth_key_of, read_query, verify_request
from node.protocol.errors import ApiError
from node.protocol.signatures import sign
from tests.unit.protocol.wire import KEY, SECRET

NOW = 1353088179.0
BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
BODY_MD5 = "ec365a775a4cd0599faeb73354201b6f"
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
VECTOR_QUERY = (
    f"auth_key={KEY}&auth_timestamp=1353088179&auth_version=1.0&body_md5={BODY_MD5}"
    "&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
)
AUTH = {"auth_key": KEY, "auth_timestamp": "1353088179", "auth_version": "1.0"}


def signed(path: str, parameters: dict[str, str], method: str = "GET", secret: str = SECRET) -> str:
    """The query that an SDK makes of these parameters, sorted, unescaped, with its signature."""
    query = "&".join(f"{key}={value}" for key, value in sorted(parameters.items()))
    text = f"{method}\n{path}\n{query}"
    return f"{query}&auth_signature={sign(secret, text)}"


def verify(  # noqa: PLR0917
    method: str, path: str, query: str, body: bytes, secrets: Sequence[str], now: float
) -> None:
    """Check a request as it comes over the wire."""
    verify_request(method, path, read_query(query), body, secrets, now)


def refusal(  # noqa: PLR0917
    method: str, path: str, query: str, body: bytes = b"", now: float = NOW, secrets: tuple[str, ...] = (SECRET,)
) -> str:
    """The message of the error that a request raises, which must have the status 401."""
    with pytest.raises(ApiError) as caught:
        verify(method, path, query, body, secrets, now)
    assert caught.value.status == 401
    return caught.value.message


def test_request_of_the_published_vector_is_accepted() -> None:
    """The vector of 8.2."""
    assert hashlib.md5(BODY).hexdigest() == BODY_MD5  # noqa: S324
    verify("POST", "/apps/3/events", VECTOR_QUERY, BODY, [SECRET], NOW)


def test_request_is_accepted_under_any_secret_and_any_order_of_parameters() -> None:
    """Rotation, and a query that is not sorted."""
    shuffled = "&".join(reversed(VECTOR_QUERY.split("&")))
    verify("post", "/apps/3/events", shuffled, BODY, ["new", SECRET], NOW)


def test_request_is_accepted_with_body_md5_of_an_empty_body() -> None:
    """Python's SDK sends it on GET."""
    query = signed("/apps/3/users/1", {**AUTH, "body_md5": EMPTY_MD5})
    verify("GET", "/apps/3/users/1", query, b"", [SECRET], NOW)


def test_request_is_accepted_without_body_md5_when_there_is_no_body() -> None:
    """Others leave it out."""
    verify("GET", "/p", signed("/p", AUTH), b"", [SECRET], NOW)


def test_request_is_refused_without_body_md5_when_there_is_a_body() -> None:
    """A body that is not signed could be anything."""
    assert refusal("POST", "/p", signed("/p", AUTH, "POST"), b"{}").startswith("Missing body_md5")


@pytest.mark.parametrize("body", [b"", BODY + b" ", b"{}"])
def test_request_is_refused_when_the_body_is_another(body: bytes) -> None:
    """The digest is of the raw bytes."""
    assert refusal("POST", "/apps/3/events", VECTOR_QUERY, body).startswith("Invalid body_md5")


@pytest.mark.parametrize("off", [-600, 0, 600])
def test_request_is_accepted_within_ten_minutes(off: int) -> None:
    """In both directions, the bound included."""
    verify("POST", "/apps/3/events", VECTOR_QUERY, BODY, [SECRET], NOW + off)


@pytest.mark.parametrize("off", [-601, 601])
def test_request_is_refused_when_the_clocks_differ(off: int) -> None:
    """Observed text, with both times."""
    message = refusal("POST", "/apps/3/events", VECTOR_QUERY, BODY, NOW + off)
    assert message.startswith("Timestamp expired: Given timestamp (1353088179) not within 600s of server time")


@pytest.mark.parametrize("timestamp", ["x", "-1", "1.5", "9" * 5000, "٣"])
def test_request_is_refused_when_the_timestamp_is_no_number(timestamp: str) -> None:
    """Not even huge ones reach the conversion."""
    assert refusal("GET", "/p", signed("/p", {**AUTH, "auth_timestamp": timestamp})).startswith("Invalid auth_timestamp")


def test_request_is_refused_when_the_version_is_another() -> None:
    """There is one version."""
    assert refusal("GET", "/p", signed("/p", {**AUTH, "auth_version": "2.0"})).startswith("Invalid auth_version")


@pytest.mark.parametrize("name", ["auth_timestamp", "auth_version", "auth_signature"])
def test_request_is_refused_by_name_when_a_parameter_is_missing(name: str) -> None:
    """The message says what to send."""
    query = "&".join(part for part in VECTOR_QUERY.split("&") if not part.startswith(name))
    assert refusal("POST", "/apps/3/events", query, BODY).startswith(f"Missing {name}: sign the request with")


@pytest.mark.parametrize(
    ("method", "path", "change"),
    [
        ("GET", "/apps/3/events", ("", "")),
        ("POST", "/apps/4/events", ("", "")),
        ("POST", "/apps/3/events", ("auth_version=1.0", "auth_version=1.0&extra=1")),
        ("POST", "/apps/3/events", ("f457e6c", "f457e6d")),
        ("POST", "/apps/3/events", ("f457e6c", "f457e6")),
        ("POST", "/apps/3/events", ("da454824", "DA454824")),
        ("POST", "/apps/3/events", ("da454824", "%ff")),
    ],
)
def test_request_is_refused_when_anything_signed_is_changed(method: str, path: str, change: tuple[str, str]) -> None:
    """Method, path, parameters, and the signature itself."""
    message = refusal(method, path, VECTOR_QUERY.replace(*change), BODY)
    assert message.startswith('Invalid signature: you should have sent HmacSHA256Hex("')


def test_refusal_shows_the_text_to_sign_and_no_digest() -> None:
    """The text of 8.2, which helps whoever writes a client."""
    query = VECTOR_QUERY.replace("da454824", "00000000")
    message = refusal("POST", "/apps/3/events", query, BODY)
    assert (
        rf'HmacSHA256Hex("POST\n/apps/3/events\nauth_key={KEY}&auth_timestamp=1353088179&auth_version=1.0'
        f'&body_md5={BODY_MD5}", your_secret_key), but you sent "00000000' in message
    )
    assert "da454824" not in message


def test_request_is_refused_with_the_secret_of_another_app() -> None:
    """Or with none."""
    assert refusal("POST", "/apps/3/events", VECTOR_QUERY, BODY, secrets=("other",))
    assert refusal("POST", "/apps/3/events", VECTOR_QUERY, BODY, secrets=())


@pytest.mark.parametrize("value", ["user_count,subscription_count", "a b", "ü", "a=b", "50%", "%2C"])
def test_request_is_accepted_when_values_are_escaped_on_the_way(value: str) -> None:
    """PHP's HTTP library escapes what was signed plain."""
    query = signed("/p", {**AUTH, "info": value})
    escaped = query.replace(f"info={value}", f"info={quote(value, safe='')}")
    verify("GET", "/p", escaped, b"", [SECRET], NOW)


@pytest.mark.parametrize("value", ["a,b", "a=b", "a@b;c"])
def test_request_is_accepted_when_values_arrive_raw(value: str) -> None:
    """Node, Python and Go put them into the URL as they are."""
    verify("GET", "/p", signed("/p", {**AUTH, "info": value}), b"", [SECRET], NOW)


@pytest.mark.parametrize(("meant", "sent"), [("a+b", "a+b"), ("a+b", "a%2Bb"), ("a b", "a+b"), ("a b", "a%20b")])
def test_request_is_accepted_when_plus_is_itself_or_a_space(meant: str, sent: str) -> None:
    """Literally first, then as a form has it."""
    query = signed("/p", {**AUTH, "info": meant}).replace(f"info={meant}", f"info={sent}")
    verify("GET", "/p", query, b"", [SECRET], NOW)


@pytest.mark.parametrize("brackets", ["[]", "%5B%5D"])
def test_request_is_accepted_when_php_sends_an_array(brackets: str) -> None:
    """Signed as `info=a,b`, sent as `info[0]=a&info[1]=b`."""
    opening, closing = brackets[: len(brackets) // 2], brackets[len(brackets) // 2 :]
    query = signed("/p", {**AUTH, "info": "a,b"})
    array = f"info{opening}0{closing}=a&info{opening}1{closing}=b"
    verify("GET", "/p", query.replace("info=a,b", array), b"", [SECRET], NOW)


def test_request_is_accepted_when_brackets_were_signed_literally() -> None:
    """Whoever signs what it sends is right too."""
    verify("GET", "/p", signed("/p", {**AUTH, "info[0]": "a"}), b"", [SECRET], NOW)


def test_request_is_accepted_when_keys_are_signed_in_lower_case() -> None:
    """Keys are lower-cased before they are sorted."""
    query = signed("/p", {**AUTH, "zoom": "1"}).replace("zoom", "Zoom")
    verify("GET", "/p", query, b"", [SECRET], NOW)


def test_request_counts_the_last_of_duplicate_keys() -> None:
    """Both for what is signed and for what is read."""
    query = signed("/p", {**AUTH, "info": "b"})
    verify("GET", "/p", f"info=a&auth_version=3&{query}", b"", [SECRET], NOW)


@pytest.mark.parametrize("signed_path", ["/apps/3/users/x y/ü/events", "/apps/3/users/x%20y%2F%C3%BC/events"])
def test_request_is_accepted_when_the_path_was_signed_raw_or_escaped(signed_path: str) -> None:
    """Node signs the plain path, then its HTTP library escapes it."""
    query = signed(signed_path, AUTH)
    verify("GET", "/apps/3/users/x%20y%2F%C3%BC/events", query, b"", [SECRET], NOW)


@pytest.mark.parametrize(
    ("query", "info"),
    [
        ("info=a,b", "a,b"),
        ("info=a%2Cb", "a,b"),
        ("Info=a", "a"),
        ("info[0]=a&info[1]=b", "a,b"),
        ("info%5B%5D=a", "a"),
        ("info[]=a&info[]=b", "b"),
        ("info=a&info=b", "b"),
        ("info=", ""),
        ("x=1&&=", None),
    ],
)
def test_arguments_are_read_as_they_were_signed(query: str, info: str | None) -> None:
    """Decoded once, PHP's arrays as the list that it signed, the last of the same key."""
    assert arguments_of(read_query(query)).get("info") == info


def test_path_is_decoded_only_once() -> None:
    """A path that was escaped twice is another path."""
    assert refusal("GET", "/users/a%2520b", signed("/users/a b", AUTH)).startswith("Invalid signature")


def test_auth_key_is_found_in_the_query() -> None:
    """Decoded, whatever its case and place."""
    assert auth_key_of(read_query("x=1&Auth_Key=a%2Db")) == "a-b"


@pytest.mark.parametrize("query", ["", "auth_key", "auth_key=", "key=1", "auth_keys=1"])
def test_auth_key_is_asked_for_when_it_is_missing(query: str) -> None:
    """Whose request it is must be known first."""
    with pytest.raises(ApiError, match="Missing auth_key") as caught:
        auth_key_of(read_query(query))
    assert caught.value.status == 401


@pytest.mark.parametrize("query", ["%ff=%ff", "=&&==", "auth_signature=\ud800", "%zz=%", "a" * 10_000])
def test_request_is_refused_when_the_query_is_garbage(query: str) -> None:
    """Escapes that are no UTF-8, lone surrogates, long keys: 401, and no other error."""
    auth = "&".join(f"{key}={value}" for key, value in AUTH.items())
    assert refusal("GET", "/p\ud800%ff", f"{auth}&auth_signature=x&{query}")
