"""One API request: recognized, authorized, read, acted on, answered, counted.

The checks run in this order, and the first that fails is the answer: path (404), method (405), `auth_key`
(401), the app in the path (401), the app enabled (403), rate (429), signature (401), body (400, 413); then
the bus (503). Every answer is a JSON object; an error is `{"error": text}`, where the text says what to do.
Requests are not logged; they are counted by route and status.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog
import trio

from node.api.audience import Users, encode_for_users
from node.api.rates import Rates
from node.api.routes import Route, Target, decode_user_id, find
from node.config.apps import App, Apps
from node.metrics import Metrics
from node.protocol.api_body import ApiEvent, EventLimits, decode_batch, decode_event, decode_user_event
from node.protocol.api_signature import auth_key_of, verify_request
from node.protocol.errors import ApiError, excerpt
from node.protocol.targets import decode_percent, strip_prefix
from node.transport.seam import ApiRequest, ApiResponse, Respond
from node.users import Unavailable

log = structlog.get_logger(__name__)

_encode_json = msgspec.json.Encoder().encode

_UNKNOWN_PATH = "unknown"

Answer = Mapping[str, object]
_ASKING = {Route.TERMINATE, Route.TERMINATE_BY_KEY, Route.USER}
_UNAVAILABLE = ApiError(503, "The cluster cannot be reached at the moment: send the request again", 1.0)


class WrongMethodError(ApiError):
    """The path exists, for another method."""

    def __init__(self, route: Route) -> None:
        super().__init__(405, f"Wrong method: send {route.method} to {route.template}")
        self.allowed = route.method


@dataclass(slots=True)
class _Visit:
    """One request while it is handled. `path` is without the prefix; `start` is on the performance counter."""

    request: ApiRequest
    path: str
    target: Target | None
    start: float

    @property
    def route(self) -> str:
        """The route's name in metrics: never what the client sent."""
        return self.target.route.template if self.target else _UNKNOWN_PATH


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
        answered = trio.Event()
        answers: list[ApiResponse] = []

        def respond(response: ApiResponse) -> None:
            answers.append(response)
            answered.set()

        if not self.handle_nowait(request, respond):
            return await self._ask(request)
        await answered.wait()
        return answers[0]

    def handle_nowait(self, request: ApiRequest, respond: Respond) -> bool:
        """Answer one request without a task: `respond` is called once, perhaps at once. Raises nothing.

        False: nothing was done, since this route's answer has to be waited for. Call `handle`.
        """
        visit = self._visit(request)
        if visit.target is not None and visit.target.route in _ASKING:
            return False
        try:
            self._publish(self._enter(visit), visit, respond)
        except Exception as error:  # noqa: BLE001 - `_describe` knows what is a refusal and what a bug of ours
            respond(self._leave(visit, self._describe(error, visit)))
        return True

    async def _ask(self, request: ApiRequest) -> ApiResponse:
        """Answer a request that other nodes have to be asked for."""
        visit = self._visit(request)
        try:
            response = ApiResponse(200, _encode_json(await self._act(self._enter(visit), visit)))
        except Exception as error:  # noqa: BLE001 - as above
            response = self._describe(error, visit)
        return self._leave(visit, response)

    def _visit(self, request: ApiRequest) -> _Visit:
        path = strip_prefix(request.path, self._path_prefix)
        return _Visit(request, path, find(path), time.perf_counter())

    def _leave(self, visit: _Visit, response: ApiResponse) -> ApiResponse:
        """Count the answer on its way out."""
        self._metrics.of_route(visit.route, response.status).count(time.perf_counter() - visit.start)
        return response

    def _describe(self, error: Exception, visit: _Visit) -> ApiResponse:
        """An error as the answer that it becomes."""
        match error:
            case ApiError():
                return _refuse(error)
            case Unavailable():
                return _refuse(_UNAVAILABLE)
        log.error("an API request failed", route=visit.route, exc_info=error)
        self._metrics.errors.labels("api").inc()
        return _refuse(ApiError(500, "The server failed to handle this request: its log says why"))

    # -- who asks, and may they -----------------------------------------------------------------------------------

    def _enter(self, visit: _Visit) -> App:
        """The app that signed a request for this path. Raises `ApiError` 401 to 405, and 429."""
        request, target = visit.request, visit.target
        if target is None:
            raise ApiError(404, "No such path: the API has /apps/{id}/events, batch_events and users/{user_id}")
        if request.method != target.route.method:
            raise WrongMethodError(target.route)
        app = self._find_app(request.query, target)
        if not app.enabled:
            raise ApiError(403, "The app is disabled: enable it in the server's configuration")
        now = self._clock()
        self._check_rate(app, now)
        verify_request(request.method, visit.path, request.query, request.body, app.secrets, now)
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

    async def _act(self, app: App, visit: _Visit) -> Answer:
        """Do what a route does that asks other nodes. Raises `ApiError` 400, and `Unavailable`."""
        assert visit.target is not None  # noqa: S101 - it was entered
        user_id = decode_user_id(visit.target.user)
        if visit.target.route is Route.USER:
            connections = await self._users.count_user(app, user_id)
            return {"online": connections > 0, "connections": connections}
        await self._users.terminate_user(app, user_id)
        return {}

    def _publish(self, app: App, visit: _Visit, respond: Respond) -> None:
        """Send the events of a request in one go: as a whole or not at all. Raises `ApiError` 400 or 413."""
        assert visit.target is not None  # noqa: S101 - it was entered
        events, answer = _read_events(visit.target, visit.request.body, _limits_of(app))

        def done(carried: bool) -> None:
            response = ApiResponse(200, _encode_json(answer)) if carried else _refuse(_UNAVAILABLE)
            respond(self._leave(visit, response))

        for_users = [each for event in events for each in encode_for_users(app, event)]
        if for_users:
            self._users.publish(app, for_users, done)
        else:
            done(carried=True)


def _read_events(target: Target, body: bytes, limits: EventLimits) -> tuple[Sequence[ApiEvent], Answer]:
    """The events of a request, and what is answered once they are sent. Raises `ApiError` 400 or 413.

    No attribute that `info` can ask for applies to a user's channel (protocol.md 8.3).
    """
    if target.route is Route.BATCH_EVENTS:
        events = decode_batch(body, limits)
        return events, {"batch": [{} for _ in events]} if any(event.info for event in events) else {}
    if target.route is Route.EVENTS:
        event = decode_event(body, limits)
    else:
        event = decode_user_event(body, decode_user_id(target.user), limits)
    return (event,), {"channels": {channel: {} for channel in event.channels}} if event.info else {}


def _limits_of(app: App) -> EventLimits:
    return EventLimits(data=app.max_event_bytes)


def _refuse(error: ApiError) -> ApiResponse:
    body = _encode_json({"error": error.message.encode(errors="replace").decode()})
    headers: list[tuple[str, str]] = []
    if error.retry_after is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after)))))
    if isinstance(error, WrongMethodError):
        headers.append(("Allow", error.allowed))
    return ApiResponse(error.status, body, tuple(headers))
