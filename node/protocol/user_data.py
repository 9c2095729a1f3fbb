"""Who signs in: the `user_data` of `pusher:signin` (protocol.md 2.3).

The text is kept as it came, as the success frame repeats it and the signature covers it. It is personal
data: it never goes to a log.
"""

import re
from dataclasses import dataclass

import msgspec

from node.protocol.decoding import UNREADABLE
from node.protocol.errors import CloseCode, ProtocolError

USER_ID_LIMIT = 200

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UserData:
    """A signed-in user. `watchlist`: every valid id once, in order; cutting it is the caller's part.

    `user_info` is read from `raw` by whoever needs it (`node.protocol.members`), as few connections do.
    """

    id: str
    raw: str
    watchlist: tuple[str, ...]


class _Fields(msgspec.Struct):
    id: object = None
    user_info: object = None
    watchlist: object = None


_decode_fields = msgspec.json.Decoder(_Fields).decode


def is_user_id(value: object) -> bool:
    """Whether `value` can be a user's id: 1 to 200 characters, no control characters, no lone surrogates."""
    if not (isinstance(value, str) and 1 <= len(value) <= USER_ID_LIMIT):
        return False
    # nearly every id is printable, which is quicker to see than a search, and a watchlist asks a hundred times
    return value.isprintable() or _FORBIDDEN.search(value) is None


def parse_user_data(raw: str) -> UserData:
    """Read `user_data`, whose signature was checked before. Raises `ProtocolError(4009)` if it is invalid."""
    try:
        fields = _decode_fields(raw)
    except UNREADABLE:
        raise _refusal("user_data must be a JSON object, encoded as a string") from None
    if not (isinstance(fields.id, str) and is_user_id(fields.id)):
        raise _refusal('user_data must contain an "id": a string of 1 to 200 characters without control characters')
    return UserData(fields.id, raw, _read_watchlist(fields.watchlist))


def _read_watchlist(value: object) -> tuple[str, ...]:
    """Every valid id once, in order. Members that cannot be ids are nobody, and are left out."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _refusal('"watchlist" in user_data must be an array of user ids')
    return tuple(dict.fromkeys(member for member in value if is_user_id(member)))


def _refusal(message: str) -> ProtocolError:
    return ProtocolError(CloseCode.UNAUTHORIZED, f"Invalid user data: {message}")
