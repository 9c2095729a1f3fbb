"""Ids as NATS subject tokens.

App and user ids may hold anything: dots, `*`, `>`, spaces, any Unicode. A subject token may not. `encode_token` is
injective and reversible, never yields a separator or wildcard, and is bounded: an id of n characters becomes at most
`2 + 16 * n / 3` characters. Ids that are already safe stay readable, for whoever looks at the subjects of a live system.

Rule for editing: two nodes of different versions must agree on every token, so a change here is a new subject version.
"""

import base64
import binascii
import re
from functools import lru_cache

_PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_MARK = "="  # never in _PLAIN, so an encoded id cannot be mistaken for a plain one


class BadTokenError(ValueError):
    """The text is not a token that `encode_token` can have made."""


@lru_cache(maxsize=4096)  # one app id for all its users, and one user id three times for each sign-in
def encode_token(text: str) -> str:
    """The token for an id; raises `UnicodeEncodeError` (a ValueError) for lone surrogates, which no valid id holds."""
    if _PLAIN.fullmatch(text):
        return text
    return _MARK + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(token: str) -> str:
    """The id that a token stands for; raises `BadTokenError`."""
    if _PLAIN.fullmatch(token):
        return token
    if not token.startswith(_MARK):
        raise BadTokenError(f"expected a plain token or one that starts with {_MARK!r}, got {token!r}")
    body = token[len(_MARK) :]
    try:
        text = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadTokenError(f"not base64url of UTF-8: {token!r}") from error
    if encode_token(text) != token:
        raise BadTokenError(f"not the canonical token of any id: {token!r}")
    return text
