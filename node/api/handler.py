"""One API request: recognized, authorized, read, acted on, answered, counted.

The checks run in this order, and the first that fails is the answer: path (404), method (405), `auth_key`
(401), the app in the path (401), the app enabled (403), rate (429), signature (401), body (400, 413); then
the bus (503). Every answer is a JSON object; an error is `{"error": text}`, where the text says what to do.
Requests are not logged; they are counted by route and status.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

import msgspec
import structlog

from node.api.audience import Users, encode_for_users
from node.api.rates import Rates
from node.api.routes import Route, Target, decode_user_id, find
from node.apps import App, Apps
from node.metrics import Metrics
from node.protocol.api_body import ApiEvent, EventLimits, decode_batch, decode_event, decode_user_event
from node.protocol.api_signature import auth_key_of, verify_request
from node.protocol.errors import ApiError, excerpt
from node.protocol.targets import decode_percent, strip_prefix
from node.transport.seam import ApiRequest, ApiResponse
from node.users import Unavailable

log = structlog.get_logger(__name__)

_encode_json = msgspec.json.Encoder().encode

_UNKNOWN_PATH = "unknown"
_RETRY_WHEN_UNAVAILABLE = 1.0

Answer = Mapping[str, object]


class Api:
    """The API of one node, as the transport calls it (`node.transport.seam.ApiHandler` is its `handle`).

    `clock` gives unix time. `path_prefix` is what a reverse proxy puts before every path, and no SDK signs.
    """

    def __init__(
        self,
        apps: Apps,
        users: Users,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        *,
        path_prefix: str = "",
    ) -> None:
        self._apps = apps
        self._users = users
        self._metrics = metrics
        self._clock = clock
        self._path_prefix = path_prefix
        self._rates = Rates()

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer one request, whatever it is. Raises nothing; when cancelled, the request may have been acted on."""
        start = time.perf_counter()
        path = strip_prefix(request.path, self._path_prefix)
        target = find(path)
        route = target.route.template if target else _UNKNOWN_PATH
        response = await self._answer(request, path, target)
        self._metrics.api_requests.labels(route=route, status=str(response.status)).inc()
        self._metrics.api_request_seconds.labels(route=route).observe(time.perf_counter() - start)
        return response

    async def _answer(self, request: ApiRequest, path: str, target: Target | None) -> ApiResponse:
        try:
            if target is None:
                return _refuse(404, "No such path: the API has /apps/{id}/events, batch_events and users/{user_id}")
            if request.method != target.route.method:
                return _refuse_method(target.route)
            app = self._authorize(request, path, target)
            return ApiResponse(200, _encode_json(await self._act(app, target, request.body)))
        except ApiError as error:
            return _refuse(error.status, error.message, error.retry_after)
        except Unavailable:
            message = "The cluster cannot be reached at the moment: send the request again"
            return _refuse(503, message, _RETRY_WHEN_UNAVAILABLE)
        except Exception:  # a bug of ours that one request shows ends this request, not the node
            log.exception("an API request failed", route=target.route.template if target else _UNKNOWN_PATH)
            self._metrics.errors.labels("api").inc()
            return _refuse(500, "The server failed to handle this request: its log says why")

    # -- who asks, and may they -----------------------------------------------------------------------------------

    def _authorize(self, request: ApiRequest, path: str, target: Target) -> App:
        """The app that signed a request for this path. Raises `ApiError` 401, 403 or 429."""
        app = self._find_app(request.query, target)
        if not app.enabled:
            raise ApiError(403, "The app is disabled: enable it in the server's configuration")
        now = self._clock()
        self._check_rate(app, now)
        verify_request(request.method, path, request.query, request.body, app.secrets, now)
        self._rates.take(app.id, app.api_requests_per_second, now)
        return app

    def _find_app(self, query: str, target: Target) -> App:
        key = auth_key_of(query)
        app = self._apps.by_key(key)
        if app is None:
            raise ApiError(401, f"Unknown auth_key '{excerpt(key, 100)}': sign with a key of this server's apps")
        if target.app and decode_percent(target.app) not in {app.id, app.key}:
            raise ApiError(401, "The path names another app than auth_key: use that app's id or key in the path")
        return app

    def _check_rate(self, app: App, now: float) -> None:
        wait = self._rates.wait(app.id, app.api_requests_per_second, now)
        if wait > 0:
            allowed = f"{app.api_requests_per_second:g} requests per second"
            raise ApiError(429, f"Too many requests: this app may make {allowed}. Wait, and send fewer", wait)

    # -- what is asked --------------------------------------------------------------------------------------------

    async def _act(self, app: App, target: Target, body: bytes) -> Answer:
        """Do what a route does. Raises `ApiError` 400 or 413, and `Unavailable`."""
        match target.route:
            case Route.EVENTS:
                return await self._publish(app, decode_event(body, _limits_of(app)))
            case Route.BATCH_EVENTS:
                return await self._publish_batch(app, decode_batch(body, _limits_of(app)))
            case Route.USER_EVENTS:
                user_id = decode_user_id(target.user)
                return await self._publish(app, decode_user_event(body, user_id, _limits_of(app)))
            case Route.TERMINATE | Route.TERMINATE_BY_KEY:
                await self._users.terminate_user(app, decode_user_id(target.user))
                return {}
            case Route.USER:
                connections = await self._users.count_user(app, decode_user_id(target.user))
                return {"online": connections > 0, "connections": connections}
            case _:
                assert_never(target.route)

    async def _publish(self, app: App, event: ApiEvent) -> Answer:
        await self._send([event], app)
        return _describe(event)

    async def _publish_batch(self, app: App, events: Sequence[ApiEvent]) -> Answer:
        await self._send(events, app)
        if not any(event.info for event in events):
            return {}
        return {"batch": [{} for _ in events]}

    async def _send(self, events: Sequence[ApiEvent], app: App) -> None:
        """Send to users in one go, so that a batch is sent as a whole or refused as a whole."""
        for_users = [each for event in events for each in encode_for_users(event)]
        if for_users:
            await self._users.send_to_users(app, for_users)


def _describe(event: ApiEvent) -> Answer:
    """The attributes that `info` asked for, of each channel. None applies to a user's channel (protocol.md 8.3)."""
    return {"channels": {channel: {} for channel in event.channels}} if event.info else {}


def _limits_of(app: App) -> EventLimits:
    return EventLimits(data=app.max_event_bytes)


def _refuse(status: int, message: str, retry_after: float | None = None) -> ApiResponse:
    body = _encode_json({"error": message.encode(errors="replace").decode()})
    if retry_after is None:
        return ApiResponse(status, body)
    return ApiResponse(status, body, (("Retry-After", str(max(1, math.ceil(retry_after)))),))


def _refuse_method(route: Route) -> ApiResponse:
    response = _refuse(405, f"Wrong method: send {route.method} to {route.template}")
    return ApiResponse(response.status, response.body, (("Allow", route.method),))
