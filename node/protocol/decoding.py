"""How the decoders of this package read JSON that somebody else wrote.

msgspec checks the grammar, the types and (in strings that are read) the encoding. What it raises for
hostile input is listed in `UNREADABLE`; decoders catch exactly that and translate it, so that anything else
remains a bug of ours.
"""

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""Bad grammar, wrong types, numbers out of range; broken UTF-8, lone surrogates; nesting without end."""

_decode_string = msgspec.json.Decoder(str).decode


def is_json_string(value: msgspec.Raw) -> bool:
    """Whether a JSON value, still in its wire form, is a string."""
    return bytes(value).startswith(b'"')


def text_of(value: msgspec.Raw) -> str:
    """A JSON value as the text that is passed on: a string's content untouched, anything else as its JSON.

    Raises one of `UNREADABLE`: the grammar of a raw value was checked when it was cut out, its encoding was
    not.
    """
    wire = bytes(value)
    return _decode_string(wire) if wire.startswith(b'"') else wire.decode()
