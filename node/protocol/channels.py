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
    """The eight kinds of ordinary channels, and a signed-in user's own channel."""

    PUBLIC = "public"
    PRIVATE = "private"
    PRESENCE = "presence"
    ENCRYPTED = "encrypted"
    CACHE = "cache"
    PRIVATE_CACHE = "private cache"
    PRESENCE_CACHE = "presence cache"
    ENCRYPTED_CACHE = "encrypted cache"
    SERVER_TO_USER = "server to user"

    @property
    def is_encrypted(self) -> bool:
        """Whether the server only sees ciphertext on it (protocol.md 10)."""
        return self in {ChannelKind.ENCRYPTED, ChannelKind.ENCRYPTED_CACHE}


_KINDS = (  # the first prefix that fits decides
    ("private-encrypted-cache-", ChannelKind.ENCRYPTED_CACHE),
    ("private-encrypted-", ChannelKind.ENCRYPTED),
    ("private-cache-", ChannelKind.PRIVATE_CACHE),
    ("private-", ChannelKind.PRIVATE),
    ("presence-cache-", ChannelKind.PRESENCE_CACHE),
    ("presence-", ChannelKind.PRESENCE),
    ("cache-", ChannelKind.CACHE),
    (SERVER_TO_USER_PREFIX, ChannelKind.SERVER_TO_USER),
)


def kind_of(channel: str) -> ChannelKind:
    """The kind of a channel, by its name alone; whether that is valid is `is_valid_channel`'s question."""
    return next((kind for prefix, kind in _KINDS if channel.startswith(prefix)), ChannelKind.PUBLIC)


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
