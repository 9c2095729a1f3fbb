"""Which route a path is, and what it names. Pure: nothing is decoded or looked up before the path is known.

A route's template is its name in metrics and messages, so that no id ever becomes a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from node.protocol.errors import ApiError
from node.protocol.user_data import is_user_id


class Route(Enum):
    """Every route, as its method and its template."""

    EVENTS = ("POST", "/apps/{app}/events")
    BATCH_EVENTS = ("POST", "/apps/{app}/batch_events")
    USER_EVENTS = ("POST", "/apps/{app}/users/{user}/events")
    TERMINATE = ("POST", "/apps/{app}/users/{user}/terminate_connections")
    TERMINATE_BY_KEY = ("POST", "/users/{user}/terminate_connections")
    USER = ("GET", "/apps/{app}/users/{user}")

    def __init__(self, method: str, template: str) -> None:
        self.method = method
        self.template = template


@dataclass(frozen=True, slots=True)
class Target:
    """A known path. `app` and `user` are percent-encoded as received; empty where the route has none."""

    route: Route
    app: str = ""
    user: str = ""


def find(path: str) -> Target | None:
    """What a path, percent-encoded as received and without a prefix, stands for; `None` for an unknown one.

    The Python SDK terminates through a path without an app (protocol.md 5): there `auth_key` alone names it.
    """
    match path.split("/"):
        case ["", "apps", app, *rest] if app:
            return _find_in_app(app, rest)
        case ["", "users", user, "terminate_connections"] if user:
            return Target(Route.TERMINATE_BY_KEY, user=user)
        case _:
            return None


def _find_in_app(app: str, rest: Sequence[str]) -> Target | None:
    match rest:
        case ["events"]:
            return Target(Route.EVENTS, app)
        case ["batch_events"]:
            return Target(Route.BATCH_EVENTS, app)
        case ["users", user] if user:
            return Target(Route.USER, app, user)
        case ["users", user, "events"] if user:
            return Target(Route.USER_EVENTS, app, user)
        case ["users", user, "terminate_connections"] if user:
            return Target(Route.TERMINATE, app, user)
        case _:
            return None


def decode_user_id(segment: str) -> str:
    """The user id in a path, percent-decoded once. Raises `ApiError(400)` if it cannot be one."""
    try:
        user_id = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ApiError(400, "Invalid user id: its percent escapes must be UTF-8") from None
    if not is_user_id(user_id):
        raise ApiError(400, "Invalid user id: it must have 1 to 200 characters and no control characters")
    return user_id
