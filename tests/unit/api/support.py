"""What the tests of the API share: a cluster that only records, an API over it, and requests signed as SDKs do."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from cluster import ChannelEvent, UserEvent
from node.api import Api
from node.config.apps import App, Apps
from node.metrics import Metrics
from node.protocol.signatures import sign
from node.transport.seam import ApiRequest, ApiResponse
from node.users import Unavailable

NOW = 1_700_000_000.0
APP = App(id="1001", key="shop-key", secrets=("new-secret", "secret"))
OTHER_APP = App(id="1002", key="other-key", secrets=("other-secret",))
DISABLED_APP = App(id="1003", key="disabled-key", secrets=("secret",), enabled=False)

EVENT: dict[str, Any] = {"name": "n", "data": "d", "channels": ["#server-to-user-1"]}
USER_EVENT = {"name": "n", "data": "d"}
ROUTES = [
    ("POST", "/apps/1001/events", "/apps/{app}/events", EVENT),
    ("POST", "/apps/1001/batch_events", "/apps/{app}/batch_events", {"batch": [{**USER_EVENT, "channel": "c"}]}),
    ("POST", "/apps/1001/users/1/events", "/apps/{app}/users/{user}/events", USER_EVENT),
    ("POST", "/apps/1001/users/1/terminate_connections", "/apps/{app}/users/{user}/terminate_connections", {}),
    ("POST", "/users/1/terminate_connections", "/users/{user}/terminate_connections", {}),
    ("GET", "/apps/1001/channels", "/apps/{app}/channels", None),
    ("GET", "/apps/1001/channels/room", "/apps/{app}/channels/{channel}", None),
    ("GET", "/apps/1001/channels/presence-room/users", "/apps/{app}/channels/{channel}/users", None),
    ("GET", "/apps/1001/users/1", "/apps/{app}/users/{user}", None),
]
each_route = pytest.mark.parametrize(("method", "path", "route", "body"), ROUTES, ids=[r[2] for r in ROUTES])


@dataclass(frozen=True, slots=True)
class Kept:
    """The kept event of a cache channel."""

    event: str
    data: str
    ttl: float


@dataclass
class RecordedAudience:
    """Stands for the cluster: notes what it is asked, answers from its fields, and fails when told to."""

    calls: list[tuple[object, ...]] = field(default_factory=list)
    connections: int = 0
    subscriptions: Mapping[str, int] = field(default_factory=dict)
    users: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kept: Kept | None = None
    failure: Exception | None = None

    @property
    def published(self) -> list[object]:
        """The events that were published."""
        return [event for call in self.calls if call[0] == "publish" for event in call[1:]]

    def publish(self, app: App, events: Sequence[UserEvent | ChannelEvent], done: Callable[[bool], None]) -> None:
        """Note the events."""
        if isinstance(self.failure, Unavailable):
            done(False)
            return
        assert {event.app for event in events} <= {app.id}
        self._note("publish", *events)
        done(True)

    async def channels(self, app: App, prefix: str = "") -> Mapping[str, int]:
        """Those of `subscriptions`."""
        self._note("channels", app.id, prefix)
        return {channel: count for channel, count in self.subscriptions.items() if channel.startswith(prefix)}

    async def subscription_counts(self, app: App, channels: Collection[str]) -> Mapping[str, int]:
        """From `subscriptions`."""
        self._note("subscriptions", app.id, *sorted(channels))
        return {channel: self.subscriptions.get(channel, 0) for channel in channels}

    async def user_counts(self, app: App, channels: Collection[str]) -> Mapping[str, int]:
        """From `users`."""
        self._note("users", app.id, *sorted(channels))
        return {channel: len(self.users.get(channel, ())) for channel in channels}

    async def members(self, app: App, channel: str) -> Sequence[str]:
        """From `users`."""
        self._note("members", app.id, channel)
        return self.users.get(channel, ())

    async def cached(self, app: App, channel: str) -> Kept | None:
        """The kept event."""
        self._note("cached", app.id, channel)
        return self.kept

    async def terminate_user(self, app: App, user_id: str) -> int:
        """Note the user."""
        self._note("terminate", app.id, user_id)
        return self.connections

    async def count_user(self, app: App, user_id: str) -> int:
        """Note the user; answers `connections`."""
        self._note("count", app.id, user_id)
        return self.connections

    def _note(self, *call: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append(call)


@dataclass
class Bench:
    """An API with all that it stands on, and a clock that moves when it is set."""

    apps: Apps = field(default_factory=lambda: Apps([APP, OTHER_APP, DISABLED_APP]))
    audience: RecordedAudience = field(default_factory=RecordedAudience)
    metrics: Metrics = field(default_factory=Metrics)
    path_prefix: str = ""
    now: float = NOW

    def __post_init__(self) -> None:
        self.api = Api(self.apps, self.audience, self.metrics, lambda: self.now, path_prefix=self.path_prefix)

    async def send(self, request: ApiRequest) -> tuple[int, Any]:
        """The status and the JSON of the answer to a request."""
        response = await self.respond(request)
        return response.status, read_json(response)

    async def respond(self, request: ApiRequest) -> ApiResponse:
        """The answer to a request, as a transport with tasks only when they are needed gets it."""
        answers: list[ApiResponse] = []
        if not self.api.handle_nowait(request, answers.append):
            assert answers == []
            return await self.api.handle(request)
        assert len(answers) == 1
        return answers[0]

    def counted(self, route: str, status: int) -> float | None:
        """How many requests were counted for a route and a status."""
        labels = {"route": route, "status": str(status)}
        return self.metrics.registry.get_sample_value("usher_api_requests_total", labels)


def read_json(response: ApiResponse) -> dict[str, Any]:
    """The JSON object that every answer must be: SDKs accept nothing else (protocol.md 8.2)."""
    body = json.loads(response.body)
    assert isinstance(body, dict)
    assert response.status == 200 or set(body) == {"error"}
    return body


def make_request(method: str, path: str, query: str = "", body: bytes = b"") -> ApiRequest:
    """A request as the transport hands it over."""
    return ApiRequest(method, path, query, body, {"content-type": "application/json"}, "127.0.0.1:1")


def sign_request(  # noqa: PLR0917
    method: str,
    path: str,
    body: object = None,
    parameters: Mapping[str, str] | None = None,
    app: App = APP,
    now: float = NOW,
    prefix: str = "",
) -> ApiRequest:
    """A request signed with the last secret of an app; `body` is bytes, or becomes JSON."""
    payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    signed = {"auth_key": app.key, "auth_timestamp": f"{now:.0f}", "auth_version": "1.0", **(parameters or {})}
    if payload:
        signed["body_md5"] = hashlib.md5(payload).hexdigest()  # noqa: S324
    joined = "&".join(f"{key}={value}" for key, value in sorted(signed.items()))
    signed["auth_signature"] = sign(app.secrets[-1], f"{method}\n{path}\n{joined}")
    query = "&".join(f"{key}={quote(value)}" for key, value in signed.items())
    return make_request(method, prefix + path, query, payload)
