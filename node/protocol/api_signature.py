"""Who makes an HTTP request: the signature in its query (protocol.md 8.2).

The signed text is the method, the path and all other parameters, sorted, with plain values. What SDKs sign
is not always what arrives: libraries escape paths and values, PHP sends an array for a list it signed as
`a,b`, and `+` may be itself or a space. So every text that the request can stand for is tried, the literal
one first; each of them was signed by somebody who has the secret, and they all mean the same request.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from node.protocol.errors import ApiError, excerpt
from node.protocol.signatures import signer_of
from node.protocol.targets import decode_percent

TIMESTAMP_TOLERANCE = 600
"""Seconds that a request's timestamp may be off, in both directions."""

_HOW_TO_SIGN = "sign the request with auth_key, auth_timestamp, auth_version, body_md5 and auth_signature"
_is_timestamp = re.compile(r"[0-9]{1,15}").fullmatch
_ARRAY_KEY = re.compile(r"(.+)\[[0-9]*\]")


class Query(msgspec.Struct, frozen=True):
    """A query, read once for all that is asked of it. `parameters` by lower-case key, decoded; the last of the same key."""

    raw: str
    parameters: dict[str, str]


def read_query(raw: str) -> Query:
    """Read a query, percent-encoded as received."""
    return Query(raw, _read_parameters(raw))


def auth_key_of(query: Query) -> str:
    """The key that a request names, to find its app by. Raises `ApiError(401)` if there is none."""
    return _required(query.parameters, "auth_key")


def arguments_of(query: Query) -> Mapping[str, str]:
    """What a GET asks for: parameters as they were signed, PHP's arrays folded."""
    return _fold_arrays(query.parameters) if "[" in query.raw or "%" in query.raw else query.parameters


def verify_request(  # noqa: PLR0913, PLR0917, what is signed has this many parts
    method: str, raw_path: str, query: Query, body: bytes, secrets: Sequence[str], now: float
) -> None:
    """Check that the request was signed with one of the secrets, around `now` (unix time), over this body.

    The path is percent-encoded as received, without the prefix of a reverse proxy. Raises `ApiError(401)`.
    """
    parameters = query.parameters
    signature = _required(parameters, "auth_signature")
    _check_version(_required(parameters, "auth_version"))
    _check_timestamp(_required(parameters, "auth_timestamp"), now)
    signer = signer_of(tuple(secrets))
    literal = _signed_text(method, raw_path, parameters)
    if not signer.is_signed(signature, literal):
        others = set(_possible_texts(method, raw_path, query.raw)) - {literal}
        if not any(signer.is_signed(signature, text) for text in others):
            raise _wrong_signature(signature, literal)
    _check_body(parameters.get("body_md5"), body)


def _required(parameters: Mapping[str, str], name: str) -> str:
    if value := parameters.get(name):
        return value
    raise ApiError(401, f"Missing {name}: {_HOW_TO_SIGN}")


def _check_version(version: str) -> None:
    if version != "1.0":
        raise ApiError(401, f"Invalid auth_version '{excerpt(version, 20)}': it must be 1.0")


def _check_timestamp(timestamp: str, now: float) -> None:
    if not _is_timestamp(timestamp):
        message = f"Invalid auth_timestamp '{excerpt(timestamp, 20)}': it must be unix time in seconds"
        raise ApiError(401, message)
    if abs(int(timestamp) - now) > TIMESTAMP_TOLERANCE:
        given = f"Timestamp expired: Given timestamp ({timestamp}) not within {TIMESTAMP_TOLERANCE}s"
        raise ApiError(401, f"{given} of server time ({now:.0f}). Check the clock of the sender")


def _wrong_signature(signature: str, literal: str) -> ApiError:
    text = excerpt(literal).replace("\n", "\\n")
    expected = f'Invalid signature: you should have sent HmacSHA256Hex("{text}", your_secret_key)'
    return ApiError(401, f'{expected}, but you sent "{excerpt(signature, 100)}"')


def _check_body(body_md5: str | None, body: bytes) -> None:
    """A body needs its digest; an empty body may have one, as the Python SDK sends it."""
    if body_md5 is None:
        if body:
            raise ApiError(401, f"Missing body_md5: the request has a body; {_HOW_TO_SIGN}")
        return
    actual = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if not hmac.compare_digest(body_md5.lower().encode(errors="surrogatepass"), actual.encode()):
        raise ApiError(401, f"Invalid body_md5: the body of {len(body)} bytes that arrived has another MD5")


def _possible_texts(method: str, raw_path: str, raw_query: str) -> Iterator[str]:
    """Every text that may have been signed for this request, the literal one among them; some come twice."""
    for path in (raw_path, decode_percent(raw_path)):
        for query in (raw_query, raw_query.replace("+", " ")):
            parameters = _read_parameters(query)
            yield _signed_text(method, path, parameters)
            yield _signed_text(method, path, _fold_arrays(parameters))


def _read_parameters(raw_query: str) -> dict[str, str]:
    escaped = "%" in raw_query
    parameters: dict[str, str] = {}
    for part in raw_query.split("&"):
        key, equals, value = part.partition("=")
        if not (key or equals):
            continue
        if escaped:
            key, value = decode_percent(key), decode_percent(value)
        parameters[key.lower()] = value
    return parameters


def _signed_text(method: str, path: str, parameters: Mapping[str, str]) -> str:
    """The text of these parameters, all but the signature, which is one of them."""
    query = "&".join([f"{key}={parameters[key]}" for key in sorted(parameters) if key != "auth_signature"])
    return f"{method.upper()}\n{path}\n{query}"


def _fold_arrays(parameters: Mapping[str, str]) -> dict[str, str]:
    """`info[0]=a&info[1]=b` as PHP signed it: `info=a,b`."""
    folded: dict[str, str] = {}
    for key, value in parameters.items():
        array = _ARRAY_KEY.fullmatch(key)
        name = array[1] if array else key
        folded[name] = f"{folded[name]},{value}" if array and name in folded else value
    return folded
