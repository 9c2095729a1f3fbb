"""What the tests of this package read frames with: a decoder that shares nothing with the encoder under test."""

import json
from typing import Any

SECRET = "7ad3773142a6692b25b8"
KEY = "278d425bdf160c739803"


def read_text(frame: bytes) -> str:
    """The text of one complete, final, unmasked text frame, whose length field must be the shortest that fits."""
    assert frame[0] == 0x81, "final text frame"
    assert frame[1] < 0x80, "unmasked"
    size = {126: 2, 127: 8}.get(frame[1], 0)
    length = int.from_bytes(frame[2 : 2 + size], "big") if size else frame[1]
    assert length >= {0: 0, 2: 126, 8: 1 << 16}[size], "shortest length field"
    payload = frame[2 + size :]
    assert len(payload) == length
    return payload.decode()


def read_message(frame: bytes) -> dict[str, Any]:
    """The JSON object in a text frame."""
    message = json.loads(read_text(frame))
    assert isinstance(message, dict)
    return message
