"""Close frames of RFC 6455 5.5.1, as a server sends them. Pure."""

CLOSE_BYTE = 0x88
"""How every close frame begins: final, opcode 8."""

_MAX_REASON = 123


def encode_close(code: int, reason: str) -> bytes:
    """A close frame. The reason is cut to 123 bytes of UTF-8, between characters; lone surrogates become `?`."""
    text = reason.encode(errors="replace")[:_MAX_REASON].decode(errors="ignore").encode()
    return bytes((CLOSE_BYTE, 2 + len(text))) + code.to_bytes(2, "big") + text
