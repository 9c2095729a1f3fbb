"""Channel names and what they say about a channel (protocol.md 6.1, 3.1).

Prefixes are matched at the start, with their dash, the longer before the shorter. `#` is reserved: the only
name that begins with it and is valid is `#server-to-user-<id>`.
"""

import re
from enum import Enum

from node.protocol.user_data import is_user_id

SERVER_TO_USER_PREFIX = "#server-to-user-"

_NAME = re.compile(r"[-a-zA-Z0-9_=@,.;]+")


class ChannelKind(Enum):
    """The eight kinds of ordinary channels, and a signed-in user's own channel: the table of protocol.md 6.1.

    `is_guarded`: a subscription has to be signed. `has_members`: it is a presence channel. `is_cache`: the last event is
    replayed. `is_encrypted`: the server only sees ciphertext on it (protocol.md 10).
    """

    #                 prefix                          guarded  members  cache  encrypted
    PUBLIC = ("", False, False, False, False)
    PRIVATE = ("private-", True, False, False, False)
    PRESENCE = ("presence-", True, True, False, False)
    ENCRYPTED = ("private-encrypted-", True, False, False, True)
    CACHE = ("cache-", False, False, True, False)
    PRIVATE_CACHE = ("private-cache-", True, False, True, False)
    PRESENCE_CACHE = ("presence-cache-", True, True, True, False)
    ENCRYPTED_CACHE = ("private-encrypted-cache-", True, False, True, True)
    SERVER_TO_USER = (SERVER_TO_USER_PREFIX, False, False, False, False)

    def __init__(self, prefix: str, guarded: bool, members: bool, cache: bool, encrypted: bool) -> None:
        self.prefix = prefix
        self.is_guarded = guarded
        self.has_members = members
        self.is_cache = cache
        self.is_encrypted = encrypted
        self.takes_client_events = guarded and not encrypted  # protocol.md 7


_PREFIXED = tuple(sorted((kind for kind in ChannelKind if kind.prefix), key=lambda kind: -len(kind.prefix)))
_PREFIXES = tuple(kind.prefix for kind in _PREFIXED)


def kind_of(channel: str) -> ChannelKind:
    """The kind of a channel, by its name alone; whether that is valid is `is_valid_channel`'s question."""
    if not channel.startswith(_PREFIXES):
        return ChannelKind.PUBLIC
    return next(kind for kind in _PREFIXED if channel.startswith(kind.prefix))


def is_valid_channel(name: str, limit: int = 200) -> bool:
    """Whether `name` is a channel's. `limit`: characters, prefix included; a user's channel is exempt."""
    if name.startswith("#"):
        return server_to_user_id(name) is not None
    return len(name) <= limit and _NAME.fullmatch(name) is not None


def server_to_user_channel(user_id: str) -> str:
    """The channel on which a user's own events travel."""
    return SERVER_TO_USER_PREFIX + user_id


def server_to_user_id(channel: str) -> str | None:
    """Whose channel this is; `None` when it is nobody's."""
    user_id = channel.removeprefix(SERVER_TO_USER_PREFIX)
    return user_id if user_id != channel and is_user_id(user_id) else None
