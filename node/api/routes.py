"""Which route a path is, and what it names. Pure: nothing is decoded or looked up before the path is known.

A route's template is its name in metrics, in messages and in openapi.json, so that no id ever becomes a label.
"""

from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from node.protocol.channels import is_valid_channel, server_to_user_id
from node.protocol.errors import ApiError, excerpt
from node.protocol.user_data import is_user_id


class Route(Enum):
    """Every route, as its method and its template."""

    EVENTS = ("POST", "/apps/{app}/events")
    BATCH_EVENTS = ("POST", "/apps/{app}/batch_events")
    USER_EVENTS = ("POST", "/apps/{app}/users/{user}/events")
    CHANNELS = ("GET", "/apps/{app}/channels")
    CHANNEL = ("GET", "/apps/{app}/channels/{channel}")
    MEMBERS = ("GET", "/apps/{app}/channels/{channel}/users")
    TERMINATE = ("POST", "/apps/{app}/users/{user}/terminate_connections")
    TERMINATE_BY_KEY = ("POST", "/users/{user}/terminate_connections")
    USER = ("GET", "/apps/{app}/users/{user}")

    def __init__(self, method: str, template: str) -> None:
        self.method = method
        self.template = template
        self.publishes = template.endswith("events")


class Target(msgspec.Struct, frozen=True):
    """A known path. `app` and `name` (of a user or a channel) are percent-encoded as received; empty where there is none."""

    route: Route
    app: str = ""
    name: str = ""


@lru_cache(maxsize=1024)  # backends ask for few paths, but often
def find(path: str) -> Target | None:
    """What a path, percent-encoded as received and without a prefix, stands for; `None` for an unknown one.

    The Python SDK terminates through a path without an app (protocol.md 5): there `auth_key` alone names it.
    """
    match path.split("/"):
        case ["", "apps", app, *rest] if app:
            return _find_in_app(app, rest)
        case ["", "users", user, "terminate_connections"] if user:
            return Target(Route.TERMINATE_BY_KEY, name=user)
        case _:
            return None


_OF_APPS = {"events": Route.EVENTS, "batch_events": Route.BATCH_EVENTS, "channels": Route.CHANNELS}
_OF_USERS = {"events": Route.USER_EVENTS, "terminate_connections": Route.TERMINATE}


def _find_in_app(app: str, rest: Sequence[str]) -> Target | None:
    match rest:
        case [action] if action in _OF_APPS:
            return Target(_OF_APPS[action], app)
        case ["channels", channel] if channel:
            return Target(Route.CHANNEL, app, channel)
        case ["channels", channel, "users"] if channel:
            return Target(Route.MEMBERS, app, channel)
        case ["users", user] if user:
            return Target(Route.USER, app, user)
        case ["users", user, action] if user and action in _OF_USERS:
            return Target(_OF_USERS[action], app, user)
        case _:
            return None


def decode_user_id(segment: str) -> str:
    """The user id in a path, percent-decoded once. Raises `ApiError(400)` if it cannot be one."""
    user_id = _decode(segment, "user id")
    if not is_user_id(user_id):
        raise ApiError(400, "Invalid user id: it must have 1 to 200 characters and no control characters")
    return user_id


def decode_channel(segment: str, limit: int) -> str:
    """The channel in a path, percent-decoded once. Raises `ApiError(400)` if it cannot be one; `limit` is in characters."""
    channel = _decode(segment, "channel name")
    if server_to_user_id(channel) is not None:
        raise ApiError(400, "A user's own channel cannot be looked into: GET /apps/{id}/users/{user_id} tells of the user")
    if not is_valid_channel(channel, limit):
        allowed = f"letters, digits and _-=@,.; up to {limit} characters"
        raise ApiError(400, f"Invalid channel name '{excerpt(channel, 200)}': a name is made of {allowed}")
    return channel


def _decode(segment: str, what: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ApiError(400, f"Invalid {what}: its percent escapes must be UTF-8") from None
