"""A courier on a virtual clock: when it sends, what it sends again, and what it gives up."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from node.config.apps import App
from node.config.webhooks import Webhook, WebhookSettings
from node.metrics import Metrics
from node.webhooks.courier import Courier
from node.webhooks.events import Event, cache_miss
from node.webhooks.post import Result
from tests.unit.support import APP

URL = "https://user-hook.test/secret-path?token=secret"


@dataclass
class Post:
    """Answers as it is told, and notes when it was asked for what."""

    answers: Callable[[int], Result] = lambda _: Result.SUCCESS
    takes: float = 0.0
    sent: list[tuple[float, list[str]]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    is_closed: bool = False

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        """See `Poster`."""
        assert url == URL
        decoded = json.loads(body)
        self.sent.append((round(trio.current_time(), 2), [event["channel"] for event in decoded["events"]]))
        self.bodies.append(decoded)
        self.headers.append(headers)
        number = len(self.sent)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await trio.sleep(self.takes)
        self.at_once -= 1
        return self.answers(number)

    async def aclose(self) -> None:
        """See `Poster`."""
        self.is_closed = True


@dataclass
class Site:
    """A courier, its post, and the app as it is configured at this moment."""

    post: Post
    app: App | None = APP
    webhook: Webhook = field(default_factory=lambda: Webhook(url=URL))
    metrics: Metrics = field(default_factory=Metrics)
    settings: WebhookSettings = field(default_factory=WebhookSettings)

    def __post_init__(self) -> None:
        self.start = trio.current_time()
        self.courier = Courier(APP.id, URL, self.find, self.post, self.settings, self.metrics)

    def find(self) -> tuple[App, Webhook] | None:
        """See `Find`."""
        return None if self.app is None else (self.app, self.webhook)

    def value(self, name: str, /, **labels: str) -> float:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(f"usher_webhook_{name}", {"app": APP.id, **labels}) or 0.0


def event(channel: str, size: int = 0) -> Event:
    """An event of a channel."""
    return cache_miss(APP.id, channel + "x" * size)


@asynccontextmanager
async def run_site(site: Site) -> AsyncIterator[None]:
    """The courier at work."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.courier.run)
        yield
        nursery.cancel_scope.cancel()
    assert site.post.is_closed


@pytest.fixture
def autojump_clock() -> MockClock:
    """A clock that jumps to the next thing to do."""
    return MockClock(autojump_threshold=0)


async def test_events_gather_for_an_interval(autojump_clock: MockClock) -> None:
    """From the first one on."""
    site = Site(Post())
    async with run_site(site):
        site.courier.offer(event("a"))
        await trio.sleep(0.1)
        site.courier.offer(event("b"))
        await trio.sleep(5)
    assert site.post.sent == [(0.25, ["a", "b"])]
    assert site.value("events_total", name="cache_miss") == 2


async def test_batch_leaves_at_once_when_it_is_full(autojump_clock: MockClock) -> None:
    """Its size is the limit of a request."""
    site = Site(Post())
    async with run_site(site):
        for number in range(45):
            site.courier.offer(event(f"{number}"))
        await trio.sleep(5)
    assert [(at, len(channels)) for at, channels in site.post.sent] == [(0.0, 20), (0.0, 20), (0.25, 5)]


async def test_each_event_is_a_request_when_batches_are_off(autojump_clock: MockClock) -> None:
    """And none waits."""
    site = Site(Post(), settings=WebhookSettings(batch_events=1))
    async with run_site(site):
        site.courier.offer(event("a"))
        site.courier.offer(event("b"))
        await trio.sleep(1)
    assert sorted(site.post.sent) == [(0.0, ["a"]), (0.0, ["b"])]


async def test_failed_request_is_sent_again_until_it_arrives(autojump_clock: MockClock) -> None:
    """With growing pauses, stamped and signed anew."""
    site = Site(Post(answers=lambda number: Result.SUCCESS if number == 4 else Result.STATUS))
    async with run_site(site):
        site.courier.offer(event("a"))
        await trio.sleep(60)
    times = [at for at, _ in site.post.sent]
    first, second, third = (later - earlier for earlier, later in pairwise(times))
    assert 0.5 <= first <= 1.01 <= 1.0 + second
    assert 1.0 <= second <= 2.01
    assert 2.0 <= third <= 4.01
    assert [channels for _, channels in site.post.sent] == [["a"]] * 4
    stamps = [body["time_ms"] for body in site.post.bodies]
    assert stamps == sorted(stamps)
    assert site.value("retries_total") == 3
    assert site.value("requests_total", result="status") == 3
    assert not len(site.courier)


async def test_failed_request_is_given_up_after_five_minutes(autojump_clock: MockClock) -> None:
    """With a line in the log that names neither path nor body, and a count; later events are not lost."""
    site = Site(Post(answers=lambda _: Result.TIMEOUT, takes=4.0))
    with structlog.testing.capture_logs() as logs:
        async with run_site(site):
            site.courier.offer(event("a"))
            await trio.sleep(400)
            assert 240 < site.post.sent[-1][0] <= 300.25
            assert site.value("events_dropped_total", reason="expired") == 1
            site.post.answers = lambda _: Result.SUCCESS
            site.courier.offer(event("a"))
            await trio.sleep(10)
    assert site.value("events_total", name="cache_miss") == 1
    assert [log["event"] for log in logs] == ["a webhook does not take its events", "webhook events given up"]
    assert "secret" not in str(logs)


async def test_events_of_a_channel_keep_their_order_when_one_fails(autojump_clock: MockClock) -> None:
    """Those behind it wait; other channels do not."""
    site = Site(Post(answers=lambda number: Result.STATUS if number == 1 else Result.SUCCESS))
    async with run_site(site):
        site.courier.offer(event("a"))
        await trio.sleep(0.3)
        site.courier.offer(event("a"))
        site.courier.offer(event("b"))
        await trio.sleep(10)
    assert [channels for _, channels in site.post.sent] == [["a"], ["b"], ["a"], ["a"]]


async def test_no_more_requests_run_at_once_than_allowed(autojump_clock: MockClock) -> None:
    """However many batches are full."""
    site = Site(Post(takes=1.0), settings=WebhookSettings(concurrency=3))
    async with run_site(site):
        for number in range(400):
            site.courier.offer(event(f"{number}"))
        await trio.sleep(20)
    assert site.post.most_at_once == 3
    assert site.value("events_total", name="cache_miss") == 400


async def test_oldest_events_are_dropped_when_too_many_wait(autojump_clock: MockClock) -> None:
    """Counted each, logged once."""
    site = Site(Post(answers=lambda _: Result.UNREACHABLE), settings=WebhookSettings(queue_bytes=16_384))
    with structlog.testing.capture_logs() as logs:
        async with run_site(site):
            for number in range(200):
                site.courier.offer(event(f"{number}", size=1000))
            dropped = site.value("events_dropped_total", reason="full")
            assert 180 < dropped < 200
            assert len(site.courier) == 200 - dropped
            await trio.sleep(1)
            assert site.post.sent[0][1][-1].startswith("199")
    assert [log["event"] for log in logs].count("a webhook's queue is full: its oldest events are dropped") == 1


async def test_nothing_is_sent_when_the_webhook_has_left_the_configuration(autojump_clock: MockClock) -> None:
    """Neither what waits, nor what would be sent again."""
    site = Site(Post(answers=lambda _: Result.STATUS))
    async with run_site(site):
        site.courier.offer(event("a"))
        await trio.sleep(0.3)
        site.app = None
        site.courier.offer(event("b"))
        await trio.sleep(600)
    assert [channels for _, channels in site.post.sent] == [["a"]]
    assert site.value("events_dropped_total", reason="removed") == 2


async def test_secret_and_headers_are_those_of_the_moment(autojump_clock: MockClock) -> None:
    """A rotation is heeded by a retry."""
    site = Site(Post(answers=lambda number: Result.SUCCESS if number == 2 else Result.STATUS))
    async with run_site(site):
        site.courier.offer(event("a"))
        await trio.sleep(0.3)
        site.app = App(id=APP.id, key="new-key", secrets=("new",))
        site.webhook = Webhook(url=URL, headers={"Authorization": "x"})
        await trio.sleep(10)
    assert "Authorization" not in site.post.headers[0]
    assert site.post.headers[0]["X-Pusher-Key"] == APP.key
    assert site.post.headers[1]["Authorization"] == "x"
    assert site.post.headers[1]["X-Pusher-Key"] == "new-key"


async def test_bug_ends_one_batch_only(autojump_clock: MockClock) -> None:
    """It is counted and logged, and the others go on."""

    def answer(number: int) -> Result:
        if number == 1:
            raise RuntimeError("a bug")
        return Result.SUCCESS

    site = Site(Post(answers=answer))
    with structlog.testing.capture_logs():
        async with run_site(site):
            site.courier.offer(event("a"))
            await trio.sleep(1)
            site.courier.offer(event("b"))
            await trio.sleep(1)
    assert site.value("events_dropped_total", reason="error") == 1
    assert site.value("events_total", name="cache_miss") == 1


async def test_what_is_left_is_counted_when_the_courier_stops(autojump_clock: MockClock) -> None:
    """Once, whether it waited or was on its way."""
    site = Site(Post(answers=lambda _: Result.STATUS))
    async with run_site(site):
        site.courier.offer(event("a"))
        await trio.sleep(0.3)
        site.courier.offer(event("a"))
        with structlog.testing.capture_logs() as logs:
            site.courier.stop("left")
        await trio.sleep(1)
        assert site.value("events_dropped_total", reason="left") == 2
        assert logs[0]["events"] == 2
