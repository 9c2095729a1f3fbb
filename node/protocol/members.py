"""Who comes to a presence channel: `channel_data`, or the signed-in user in its place (protocol.md 6.5, 2.8).

A member is known by a user id, which is text whatever the backend signed, and tells others its `user_info`, which is
passed on as the JSON text that was signed. Both are personal data: they never go to a log.
"""

from dataclasses import dataclass, field

import msgspec

from node.protocol.decoding import UNREADABLE
from node.protocol.errors import CloseCode, LimitError, ProtocolError
from node.protocol.user_data import UserData, is_user_id

MEMBER_ID_LIMIT = 128

_NO_INFO = "{}"  # what handlers of clients expect to be an object is one
_EXACT_FLOATS = 1e21  # below, JavaScript writes whole numbers without an exponent, and looks members up by that text


@dataclass(frozen=True, slots=True)
class MemberData:
    """A user who comes to a presence channel. `info`: `user_info` as JSON text, `{}` if there is none."""

    user_id: str
    info: str = field(repr=False)


class _ChannelData(msgspec.Struct):
    user_id: object = None
    user_info: msgspec.Raw = msgspec.Raw()


class _SignedIn(msgspec.Struct):
    user_info: msgspec.Raw = msgspec.Raw()


_decode_channel_data = msgspec.json.Decoder(_ChannelData).decode
_decode_signed_in = msgspec.json.Decoder(_SignedIn).decode
_decode_anything = msgspec.json.Decoder().decode


def parse_channel_data(raw: str, info_limit: int) -> MemberData:
    """Read `channel_data`, whose signature was checked before. `info_limit`: bytes of `user_info`.

    Raises `ProtocolError(4009)` if it is invalid, `LimitError` if it is too large.
    """
    try:
        data = _decode_channel_data(raw)
    except UNREADABLE:
        raise _refusal("expected a JSON object, encoded as a string") from None
    return MemberData(_read_id(data.user_id), _read_info(data.user_info, info_limit))


def member_of(user: UserData, info_limit: int) -> MemberData:
    """The signed-in user as a member: id and `user_info` of its `user_data`. Raises as `parse_channel_data` does."""
    return MemberData(_read_id(user.id), _read_info(_decode_signed_in(user.raw).user_info, info_limit))


def _read_id(value: object) -> str:
    """A user id as text; backends that sign numbers mean the same user (protocol.md 6.5)."""
    user_id = _number_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(user_id, str) and len(user_id) > MEMBER_ID_LIMIT:
        raise LimitError(f"The user_id of a member may have {MEMBER_ID_LIMIT} characters, this one has {len(user_id)}")
    if not (isinstance(user_id, str) and is_user_id(user_id)):
        raise _refusal("it must contain a user_id: a number, or a string that is not empty and has no control characters")
    return user_id


def _number_text(number: float) -> str:
    whole = isinstance(number, float) and number.is_integer() and abs(number) < _EXACT_FLOATS
    return str(int(number)) if whole else str(number)


def _read_info(value: msgspec.Raw, limit: int) -> str:
    wire = bytes(value)
    if len(wire) > limit:
        raise LimitError(f"The user_info of a member may have {limit} bytes, this one has {len(wire)}")
    if wire in {b"", b"null"}:
        return _NO_INFO
    try:
        _decode_anything(wire)  # its grammar was checked when it was cut out, what its strings and numbers say was not
        return wire.decode()
    except UNREADABLE:
        raise _refusal("user_info must be JSON that everybody can read") from None


def _refusal(message: str) -> ProtocolError:
    return ProtocolError(CloseCode.UNAUTHORIZED, f"Invalid channel_data: {message}")
