"""What a backend signs for a client: sign-ins and subscriptions (protocol.md 2.2, 6.2).

A signature is the lowercase hex HMAC-SHA256 of the exact text, under a secret of the app; `auth` is
`key:signature`. Signatures are compared in constant time, as bytes. An expected digest never leaves this
module.
"""

import hmac
from collections.abc import Sequence
from functools import lru_cache

from node.protocol.errors import CloseCode, ProtocolError, excerpt


def sign(secret: str, text: str) -> str:
    """The signature of `text`, in lowercase hex."""
    return hmac.digest(_utf8(secret), _utf8(text), "sha256").hex()


class Signer:
    """The secrets of one app, ready to verify with: what HMAC makes of a secret alone is done once, half of its work."""

    __slots__ = ("_states",)

    def __init__(self, secrets: Sequence[str]) -> None:
        self._states = [hmac.new(_utf8(secret), digestmod="sha256") for secret in secrets]

    def is_signed(self, signature: str, text: str) -> bool:
        """Whether `signature` is that of `text` under any of the secrets."""
        given, signed = _utf8(signature), _utf8(text)
        for state in self._states:
            digest = state.copy()
            digest.update(signed)
            if hmac.compare_digest(given, digest.hexdigest().encode()):
                return True
        return False


@lru_cache(maxsize=1024)  # an app has one tuple of secrets, until they are rotated
def signer_of(secrets: tuple[str, ...]) -> Signer:
    """The signer of an app with these secrets."""
    return Signer(secrets)


def is_signed(signature: str, text: str, secrets: Sequence[str]) -> bool:
    """Whether `signature` is that of `text` under any of the secrets."""
    return signer_of(tuple(secrets)).is_signed(signature, text)


def verify_signature(auth: str, text: str, key: str, secrets: Sequence[str]) -> None:
    """Check a client's `auth` for `text` against the app's key and any of its secrets.

    Raises `ProtocolError(4009)`, which repeats the text that was to be signed, cut, and nothing of the app.
    """
    auth_key, colon, signature = auth.partition(":")
    if not colon:
        raise ProtocolError(CloseCode.UNAUTHORIZED, "Invalid format: auth must have the format key:signature")
    if auth_key != key:
        message = f"Invalid key in subscription auth data: '{excerpt(auth_key)}'"
        raise ProtocolError(CloseCode.UNAUTHORIZED, message)
    if not is_signed(signature, text, secrets):
        expected = f"Invalid signature: Expected HMAC SHA256 hex digest of {excerpt(text)}"
        raise ProtocolError(CloseCode.UNAUTHORIZED, f"{expected}, but got {excerpt(signature)}")


def user_string(socket_id: str, user_data: str) -> str:
    """What is signed for a sign-in: `user_data` exactly as received (protocol.md 2.2)."""
    return f"{socket_id}::user::{user_data}"


def channel_string(socket_id: str, channel: str, channel_data: str | None) -> str:
    """What is signed for a subscription (protocol.md 6.2).

    `None`: the frame had no `channel_data`. When it had an empty one, the signature may be of the string
    with or without it: try both.
    """
    plain = f"{socket_id}:{channel}"
    return plain if channel_data is None else f"{plain}:{channel_data}"


def _utf8(text: str) -> bytes:
    """Bytes of any text: a lone surrogate in it makes a signature that does not match, not an error."""
    return text.encode(errors="surrogatepass")
