"""One API request: recognized, authorized, read, acted on, answered, counted.

The checks run in this order, and the first that fails is the answer: path (404), method (405), `auth_key`
(401), the app in the path (401), the app enabled (403), rate of requests (429), signature (401), body and
parameters (400, 413), rate of events (429); then the bus (503). Every answer is a JSON object; an error is
`{"error": text}`, where the text says what to do. Requests are not logged; they are counted by route and status.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog
import trio

from node.api.audience import Audience
from node.api.lookups import count, look_up
from node.api.publishing import answer_with, asked_of, cost_of, encode_events, read_events, wants_counts
from node.api.rates import Rates
from node.api.routes import Route, Target, find
from node.config.apps import App, Apps
from node.metrics import Metrics
from node.protocol.api_body import ApiEvent
from node.protocol.api_signature import Query, arguments_of, auth_key_of, read_query, verify_request
from node.protocol.errors import ApiError, excerpt
from node.protocol.targets import decode_percent, strip_prefix
from node.transport.seam import ApiRequest, ApiResponse, Respond
from node.users import Unavailable

log = structlog.get_logger(__name__)

_encode_json = msgspec.json.Encoder().encode

_UNKNOWN_PATH = "unknown"

Answer = Mapping[str, object]
_DONE = ApiResponse(200, b"{}")
_UNAVAILABLE = ApiError(503, "The cluster cannot be reached at the moment: send the request again", 1.0)
_PATHS = ", ".join(route.template for route in Route)


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
        audience: Audience,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        *,
        path_prefix: str = "",
    ) -> None:
        self._apps = apps
        self._audience = audience
        self._metrics = metrics
        self._clock = clock
        self._path_prefix = path_prefix
        self._request_rates = Rates()
        self._event_rates = Rates()

    # -- answering ------------------------------------------------------------------------------------------------

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer one request, whatever it is. Raises nothing; when cancelled, the request may have been acted on."""
        visit = self._visit(request)
        try:
            return self._leave(visit, await self._act(visit))
        except Exception as error:  # noqa: BLE001 - `_describe` knows what is a refusal and what a bug of ours
            return self._leave(visit, self._describe(error, visit))

    def handle_nowait(self, request: ApiRequest, respond: Respond) -> bool:
        """Answer one request without a task: `respond` is called once, perhaps at once. Raises nothing.

        False: nothing was done, since this answer has to be waited for. Call `handle`.
        """
        visit = self._visit(request)
        target = visit.target
        if target is not None and not target.route.publishes:
            return False
        try:
            app, _ = self._enter(visit)
            events = self._read_events(app, visit)
            if wants_counts(events):
                return False
            self._publish(app, events, partial(self._respond, visit, respond))
        except Exception as error:  # noqa: BLE001 - as above
            respond(self._leave(visit, self._describe(error, visit)))
        return True

    def _respond(self, visit: _Visit, respond: Respond, carried: bool) -> None:
        """The events of a request were carried, or were not."""
        respond(self._leave(visit, _DONE if carried else _refuse(_UNAVAILABLE)))

    def _visit(self, request: ApiRequest) -> _Visit:
        path = strip_prefix(request.path, self._path_prefix) if self._path_prefix else request.path
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

    def _enter(self, visit: _Visit) -> tuple[App, Query]:
        """The app that signed a request for this path, and the query. Raises `ApiError` 401 to 405, and 429."""
        request, target = visit.request, visit.target
        if target is None:
            raise ApiError(404, f"No such path: the API has {_PATHS}")
        if request.method != target.route.method:
            raise WrongMethodError(target.route)
        query = read_query(request.query)
        app = self._find_app(query, target)
        if not app.enabled:
            raise ApiError(403, "The app is disabled: enable it in the server's configuration")
        now = self._clock()
        if rate := app.api_requests_per_second:
            _check_rate(self._request_rates, app, rate, now, "requests")
        verify_request(request.method, visit.path, query, request.body, app.secrets, now)
        return app, query

    def _find_app(self, query: Query, target: Target) -> App:
        key = auth_key_of(query)
        app = self._apps.by_key(key)
        if app is None:
            raise ApiError(401, f"Unknown auth_key '{excerpt(key, 100)}': sign with a key of this server's apps")
        if target.app and target.app != app.id and decode_percent(target.app) not in {app.id, app.key}:
            raise ApiError(401, "The path names another app than auth_key: use that app's id or key in the path")
        return app

    # -- what is asked --------------------------------------------------------------------------------------------

    async def _act(self, visit: _Visit) -> ApiResponse:
        """Do what a request asks for. Raises `ApiError`, and `Unavailable`."""
        app, query = self._enter(visit)
        assert visit.target is not None  # noqa: S101 - it was entered
        if not visit.target.route.publishes:
            self._take_request(app)
            return _answer(await look_up(self._audience, app, visit.target, arguments_of(query)))
        events = self._read_events(app, visit)
        # Before anything is sent: what fails here can be asked for again, and nothing arrives twice.
        asked = asked_of(events)
        counts = await count(self._audience, app, asked)
        if not await self._publish_and_wait(app, events):
            raise Unavailable
        return _answer(answer_with(visit.target.route, asked, counts)) if wants_counts(events) else _DONE

    def _read_events(self, app: App, visit: _Visit) -> Sequence[ApiEvent]:
        """The events of a request that may be published now. Raises `ApiError` 400, 413 or 429."""
        assert visit.target is not None  # noqa: S101 - it was entered
        events = read_events(app, visit.target, visit.request.body)
        if rate := app.api_events_per_second:
            _check_rate(self._event_rates, app, rate, self._clock(), "events", cost_of(events))
        return events

    def _publish(self, app: App, events: Sequence[ApiEvent], done: Callable[[bool], None]) -> None:
        """Send the events of a request in one go: as a whole or not at all."""
        self._take_request(app)
        if rate := app.api_events_per_second:
            self._event_rates.take(app.id, rate, self._clock(), cost_of(events))
        self._audience.publish(app, encode_events(app, events), done)

    def _take_request(self, app: App) -> None:
        if rate := app.api_requests_per_second:
            self._request_rates.take(app.id, rate, self._clock())

    async def _publish_and_wait(self, app: App, events: Sequence[ApiEvent]) -> bool:
        answered = trio.Event()
        carried = []

        def done(was_carried: bool) -> None:
            carried.append(was_carried)
            answered.set()

        self._publish(app, events, done)
        await answered.wait()
        return carried[0]


def _check_rate(rates: Rates, app: App, rate: float, now: float, what: str, cost: int = 1) -> None:  # noqa: PLR0913, PLR0917
    """Raise `ApiError(429)` when the app has to wait."""
    wait = rates.wait(app.id, rate, now, cost)
    if wait > 0:
        raise ApiError(429, f"Too many {what}: this app may make {rate:g} {what} per second. Wait, and send fewer", wait)


def _answer(answer: Answer) -> ApiResponse:
    return ApiResponse(200, _encode_json(answer)) if answer else _DONE


def _refuse(error: ApiError) -> ApiResponse:
    body = _encode_json({"error": error.message.encode(errors="replace").decode()})
    headers: list[tuple[str, str]] = []
    if error.retry_after is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after)))))
    if isinstance(error, WrongMethodError):
        headers.append(("Allow", error.allowed))
    return ApiResponse(error.status, body, tuple(headers))
