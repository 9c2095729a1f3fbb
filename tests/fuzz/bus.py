"""What travels on the bus: envelopes, of every kind that there is, and ids as subject tokens."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Annotated, Any, get_origin

import msgpack
import msgspec

from cluster import envelope
from cluster.envelope import VERSION, EnvelopeError, decode, encode
from cluster.subjects import Subjects, app_of
from cluster.tokens import BadTokenError, decode_token, encode_token
from tests.fuzz.damage import damaged, damaged_bytes, often, value, word
from tests.fuzz.target import Target

_KINDS = list(envelope._KINDS.values())
_HUGE = (b"\xdd\xff\xff\xff\xff", b"\xdf\x00\x10\x00\x00", b"\xc6\x7f\xff\xff\xff", b"\x91" * 2000, b"\xc1", b"\xd4\x00\x00")
_SCALARS: Mapping[Any, Callable[[Random], Any]] = {
    str: word,
    int: lambda chance: chance.choice((0, 1, 2**63 - 1, -1)),
    bool: lambda chance: often(chance, 0.5),
    bytes: lambda chance: chance.randbytes(chance.randrange(20)),
    float: lambda chance: chance.random(),
}


def _field(chance: Random, kind: Any) -> Any:
    """Something for a field of this type, mostly of that type."""
    if often(chance, 0.05):
        return value(chance)
    if get_origin(kind) is Annotated:
        kind = kind.__origin__
    if kind in _SCALARS:
        return _SCALARS[kind](chance)
    if kind == str | None:
        return word(chance) if often(chance, 0.5) else None
    if kind == tuple[str, ...]:
        return [word(chance) for _ in range(chance.randrange(3))]
    return {word(chance): chance.choice((0, 7, "info", None)) for _ in range(chance.randrange(3))}


def make_envelope(chance: Random) -> bytes:
    """A message with fields of its kind, too few or too many, then damaged."""
    kind = chance.choice(_KINDS)
    items = [_field(chance, field.type) for field in msgspec.structs.fields(kind)]
    items = items[: chance.choice((len(items), len(items), len(items), chance.randrange(len(items) + 1)))]
    items += [value(chance)] * chance.choice((0, 0, 0, 2))
    version = VERSION if often(chance, 0.97) else value(chance)
    try:
        payload: bytes = msgpack.packb([version, kind.KIND, *items], unicode_errors="surrogatepass")
    except OverflowError:
        payload = chance.choice(_HUGE)
    if often(chance, 0.02):
        at = chance.randrange(len(payload) + 1)
        payload = payload[:at] + chance.choice(_HUGE) + payload[at:]
    return damaged_bytes(chance, payload)


def check_envelope(payload: bytes) -> None:
    """A message that can be sent on as it is, or refused."""
    try:
        message = decode(payload)
    except EnvelopeError:
        return
    again = encode(message)
    assert encode(decode(again)) == again


def make_token(chance: Random) -> str:
    """The token of an id, damaged, or any text."""
    text = word(chance)
    try:
        return damaged(chance, encode_token(text))
    except UnicodeEncodeError:
        return text


def check_token(text: str) -> None:
    """Taken exactly if `encode_token` makes it; and any text that can travel becomes a token and comes back."""
    with suppress(BadTokenError):
        assert encode_token(decode_token(text)) == text
    try:
        token = encode_token(text)
    except UnicodeEncodeError:
        return
    assert decode_token(token) == text
    assert token.isascii()
    assert not set(token) & set(". *>\t\r\n")
    assert app_of(Subjects("usher", 8).stem("presence", text, text)) == text


TARGETS = (Target("envelopes", make_envelope, check_envelope), Target("tokens", make_token, check_token, 0.5))
