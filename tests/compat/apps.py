"""The apps of the compatibility tests' cluster, and how their owner describes users and vouches for them."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import count

from tests.client import Credentials

MAIN = Credentials("1001", "main-key", "main-secret")
OTHER = Credentials("1002", "other-key", "other-secret")
ROTATED = Credentials("1003", "rotating-key", "new-secret")
NOT_YET_ROTATED = Credentials("1003", "rotating-key", "old-secret")
GUARDED = Credentials("1004", "guarded-key", "guarded-secret")
SHORT = Credentials("1005", "short-key", "short-secret")
CHANNELS = Credentials("1007", "channels-key", "channels-secret")
CHATTY = Credentials("1008", "chatty-key", "chatty-secret")
"""As the owner of each app knows it."""

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
"""What encrypted channels' keys are derived from; no node knows it."""

APPS = """
[[apps]]
id = "1001"
key = "main-key"
secret = "main-secret"

[[apps]]
id = "1002"
key = "other-key"
secret = "other-secret"

[[apps]]
id = "1003"
key = "rotating-key"
secrets = ["new-secret", "old-secret"]

[[apps]]
id = "1004"
key = "guarded-key"
secret = "guarded-secret"
require_authorization = true
authorization_timeout = 1

[[apps]]
id = "1005"
key = "short-key"
secret = "short-secret"
watchlist_limit = 2

[[apps]]
id = "1007"
key = "channels-key"
secret = "channels-secret"
client_events = true
subscription_count = true
cache_ttl = 60

[[apps]]
id = "1008"
key = "chatty-key"
secret = "chatty-secret"
client_events = true
presence_members = 3
"""
"""As the nodes know them."""

_numbers = count(1)


def users(*names: str) -> list[str]:
    """Ids that no other test uses: the tests share a cluster, and a user of an earlier one may still linger in it."""
    number = next(_numbers)
    return [f"{name}-{number}" for name in names]


def fresh(prefix: str) -> str:
    """A channel that no other test uses."""
    return f"{prefix}room-{next(_numbers)}"


def user_data(user_id: object, watching: Sequence[object] = (), **fields: object) -> str:
    """A user as the application's server describes it; without a watchlist where that would be empty."""
    watchlist = {"watchlist": list(watching)} if watching else {}
    return json.dumps({"id": user_id, **fields, **watchlist})


def token(app: Credentials, socket_id: str, description: str) -> dict[str, str]:
    """What an authentication endpoint answers: the signed `description` (protocol.md 2.2)."""
    return {"auth": f"{app.key}:{app.sign(f'{socket_id}::user::{description}')}", "user_data": description}


def subscription_token(
    app: Credentials, socket_id: str, channel: str, member: Mapping[str, object] | None = None
) -> dict[str, str]:
    """What an authorization endpoint answers (protocol.md 6.2)."""
    if member is None:
        return {"auth": f"{app.key}:{app.sign(f'{socket_id}:{channel}')}"}
    data = json.dumps(member)
    return {"auth": f"{app.key}:{app.sign(f'{socket_id}:{channel}:{data}')}", "channel_data": data}


def vouch(app: Credentials, socket_id: str, channel: str, member: Mapping[str, object] | None = None) -> dict[str, str]:
    """The same, with the key of an encrypted channel, which is the client's and never the server's (protocol.md 10)."""
    answer = subscription_token(app, socket_id, channel, member)
    return answer | ({"shared_secret": shared_secret(channel)} if channel.startswith("private-encrypted-") else {})


def shared_secret(channel: str) -> str:
    """The key of an encrypted channel."""
    return base64.b64encode(hashlib.sha256(channel.encode() + base64.b64decode(MASTER_KEY)).digest()).decode()
