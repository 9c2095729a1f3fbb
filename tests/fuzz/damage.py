"""Pieces that generators are made of: values, and damage. All of them take the chance as their first argument."""

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

_T = TypeVar("_T")

PIECES = (
    *('"', "{", "}", "[", "]", "\\", ",", ":", "", " ", "\n", "\0", "\x7f", "\u2028", "\ufeff", "ü", "€", "😀", "\\u0000"),
    *("\\ud800", "\\udc00\\ud800", "NaN", "1e999", "-0", "9" * 400, "null", "true", '""', "{}", "[]", "a" * 300, "é" * 150),
    *(
        "%",
        "%00",
        "%ff",
        "%E2%82%AC",
        "%25",
        "+",
        "&",
        "=",
        "?",
        "#",
        "/",
        "..",
        "[0]",
        "auth_key=",
        "\r\n",
        "'",
        "''",
        '"""',
    ),
)
WORDS = (
    "",
    "1",
    "user-1",
    "channel",
    "room.1",
    "a b",
    "Ünïcode",
    "#server-to-user-1",
    "presence-x",
    "1.2",
    "x" * 200,
    "x" * 201,
)
NUMBERS = (0, -1, 1, 100, 2**31, 2**53, 2**63 - 1, 2**64, -(2**63), 1.5, -0.0, math.inf, math.nan, 1e308, 10**400)
BYTES = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc3",
    b"\r\n",
    b"\n",
    b" ",
    b"\t",
    b"A" * 200,
)


def often(chance: Random, share: float) -> bool:
    """Whether, in this share of cases."""
    return chance.random() < share


def word(chance: Random) -> str:
    """A short text: known, or of any characters."""
    if often(chance, 0.7):
        return chance.choice(WORDS)
    points = (chance.choice((0x7F, 0x20, 0x7F, 0xFF, 0xFFFF, 0x10FFFF)) for _ in range(chance.randrange(8)))
    text = "".join(chr(chance.randrange(top + 1)) for top in points)
    return text if often(chance, 0.2) else text.encode(errors="replace").decode()


def value(chance: Random, depth: int = 2) -> Any:
    """Anything that JSON can hold, and some that it cannot."""
    kind = chance.randrange(8 if depth else 5)
    if kind < 2:
        return word(chance)
    if kind == 2:
        return chance.choice(NUMBERS)
    if kind < 5:
        return chance.choice((None, True, False))
    if kind == 5:
        return [value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {word(chance): value(chance, depth - 1) for _ in range(chance.randrange(4))}


def fields(chance: Random, wanted: dict[str, Any], drop: float = 0.1, spoil: float = 0.1) -> dict[str, Any]:
    """An object with these fields, some of them left out and some of another type."""
    chosen = {
        name: value(chance) if often(chance, spoil) else item for name, item in wanted.items() if not often(chance, drop)
    }
    if often(chance, 0.1):
        chosen[word(chance)] = value(chance)
    return chosen


def to_json(chance: Random, item: object) -> str:
    """The JSON of a value, with or without escapes, now and then nested deep."""
    text = json.dumps(item, ensure_ascii=often(chance, 0.5))
    if often(chance, 0.005):
        depth = chance.choice((100, 1100, 20_000))
        text = text.replace("null", chance.choice(("[", '{"a":')) * depth, 1)
    return text


def damaged(chance: Random, text: str) -> str:
    """A text, cut, spliced, repeated, or as it was."""
    for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2, 5))):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((0, 0, 1, 2, 8, 1000)))
        piece = text[start:end] * 2 if often(chance, 0.15) else chance.choice(PIECES)
        text = text[:start] + piece + text[end:]
    return text


def damaged_bytes(chance: Random, data: bytes) -> bytes:
    """Bytes, flipped, cut, spliced, repeated, or as they were."""
    for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2, 5))):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 0, 1, 1, 2, 8, 1000)))
        kind = chance.randrange(4)
        if kind == 0:
            piece = data[start:end] * 2
        elif kind == 1:
            piece = chance.choice(BYTES)
        elif kind == 2:
            piece = bytes(byte ^ 1 << chance.randrange(8) for byte in data[start:end])
        else:
            piece = chance.randbytes(end - start)
        data = data[:start] + piece + data[end:]
    return data


def pieces(chance: Random, data: bytes) -> list[bytes]:
    """The bytes, cut where it pleases chance."""
    if often(chance, 0.1) and len(data) < 600:
        return [data[at : at + 1] for at in range(len(data))]
    edges = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))
    return [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]


def several(chance: Random, choices: Sequence[_T], most: int) -> list[_T]:
    """Some of these, in any order, also twice."""
    return [chance.choice(choices) for _ in range(chance.randrange(most + 1))]
