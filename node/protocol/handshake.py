"""A client's first request: `/app/{key}?protocol=7&client=js&version=8.6.0` (protocol.md 1.1).

Unknown parameters and their order do not matter. `client` and `version` are what the client says of itself:
good for a log line, cut to a bound, and never a reason to refuse.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from node.protocol.errors import CloseCode, FatalError, excerpt
from node.protocol.targets import decode_percent, split_query, strip_prefix

SUPPORTED_PROTOCOLS = (4, 5, 6, 7)

_PROTOCOLS = {str(number): number for number in SUPPORTED_PROTOCOLS}
_SUPPORTED = "this server speaks protocols 4 to 7"
_LABEL_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Handshake:
    """A well-formed first request; whether an app has this key is still to be asked."""

    key: str
    protocol: int
    client: str
    version: str


@lru_cache(maxsize=1024)  # clients of one app and version all ask for the same
def parse_handshake(path: str, query: str, prefix: str = "") -> Handshake:
    """Read the request target, percent-encoded as received. Raises `FatalError` 4005 to 4008."""
    key = _read_key(strip_prefix(path, prefix))
    parameters = {name: decode_percent(value) for name, value in split_query(query)}
    protocol = _read_protocol(parameters.get("protocol", ""))
    client, version = (parameters.get(name, "")[:_LABEL_LIMIT] for name in ("client", "version"))
    return Handshake(key, protocol, client, version)


def _read_key(path: str) -> str:
    match path.split("/"):
        case ["", "app", key] if key:
            return decode_percent(key)
        case _:
            message = f"Path not found: '{excerpt(path, 100)}'. Connect to /app/{{key}}"
            raise FatalError(CloseCode.UNKNOWN_PATH, message)


def _read_protocol(value: str) -> int:
    if not value:
        message = f"No protocol version supplied: add protocol=7 to the query; {_SUPPORTED}"
        raise FatalError(CloseCode.NO_PROTOCOL, message)
    if not (value.isascii() and value.isdigit()):
        message = f"Invalid protocol version '{excerpt(value, 20)}': it must be an integer; {_SUPPORTED}"
        raise FatalError(CloseCode.BAD_PROTOCOL, message)
    if value not in _PROTOCOLS:
        message = f"Unsupported protocol version {excerpt(value, 20)}: {_SUPPORTED}"
        raise FatalError(CloseCode.UNSUPPORTED_PROTOCOL, message)
    return _PROTOCOLS[value]


def origin_allowed(origin: str | None, allowed: Sequence[str]) -> bool:
    """Whether a page of this origin may connect. In `allowed`, `*` fits all but a slash; empty allows all.

    A request without `Origin` does not come from a browser. The rule protects what a browser would give
    away to a foreign page, and anything else could send whatever origin it likes, so such a request is
    allowed.
    """
    if origin is None or not allowed or "*" in allowed:
        return True
    return any(_origin_pattern(pattern).fullmatch(origin) for pattern in allowed)


@lru_cache(maxsize=256)
def _origin_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE)
