"""Brings one webhook its events: gathers, sends, tries again, gives up.

What a webhook is (its headers, the secret, whether it is there at all) is asked before each request, so that a reload
is heeded at once. What does not arrive is counted, with a reason. Logs name the host, never a URL, a body, a header.
"""

import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
import trio

from node.config.apps import App
from node.config.webhooks import Webhook, WebhookSettings
from node.metrics import Metrics
from node.webhooks.events import Event
from node.webhooks.post import Poster, Result
from node.webhooks.queue import Batch, Queue
from node.webhooks.request import encode_body, headers_of, retry_pause

log = structlog.get_logger(__name__)

Find = Callable[[], tuple[App, Webhook] | None]
"""What the webhook is at this moment; None: it is no more."""


class Courier:
    """The way to one webhook of one app. `run` it, `offer` it events."""

    def __init__(  # noqa: PLR0913, PLR0917 - what belongs to one webhook
        self, app: str, url: str, find: Find, post: Poster, settings: WebhookSettings, metrics: Metrics
    ) -> None:
        self._app = app
        self._host = urlsplit(url).hostname
        self._find = find
        self._post = post
        self._settings = settings
        self._metrics = metrics
        self._queue = Queue(settings.queue_bytes)
        self._under_way = 0  # batches
        self._events_under_way = 0
        self._changed = trio.Event()
        self._is_full = False  # and was logged
        self._is_failing = False  # and was logged
        self._life = trio.CancelScope()

    def __len__(self) -> int:
        """How many events wait or are on their way."""
        return len(self._queue) + self._events_under_way

    def offer(self, event: Event) -> None:
        """Let an event leave in its time; never waits. When too much waits, the oldest events are dropped."""
        if dropped := self._queue.add(event, trio.current_time()):
            self._metrics.webhook_events_dropped.labels(self._app, "full").inc(dropped)
            if not self._is_full:
                log.warning("a webhook's queue is full: its oldest events are dropped", app=self._app, host=self._host)
            self._is_full = True
        self._changed.set()

    def stop(self, reason: str) -> None:
        """End `run`. What has not arrived is given up, visibly."""
        if left := len(self):
            self._metrics.webhook_events_dropped.labels(self._app, reason).inc(left)
            log.warning("webhook events given up", app=self._app, host=self._host, reason=reason, events=left)
        self._queue.clear()
        self._events_under_way = 0
        self._life.cancel()

    async def run(self) -> None:
        """Send what is offered, until `stop`."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    while True:
                        self._send_due(nursery)
                        self._changed = trio.Event()
                        may_send = self._under_way < self._settings.concurrency
                        with trio.move_on_at(self._queue.due(self._settings.batch_interval) if may_send else float("inf")):
                            await self._changed.wait()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await self._post.aclose()

    def _send_due(self, nursery: trio.Nursery) -> None:
        """Let batches leave that are due, as far as there may be requests at the same time."""
        limit, interval = self._settings.batch_events, self._settings.batch_interval
        while self._under_way < self._settings.concurrency:
            batch = self._queue.take(limit, interval, trio.current_time())
            if batch is None:
                return
            self._under_way += 1
            self._events_under_way += len(batch.events)
            nursery.start_soon(self._bring, batch)

    async def _bring(self, batch: Batch) -> None:
        """Send a batch until it arrives or is given up."""
        try:
            reason = await self._try(batch)
        except Exception:  # a bug of ours that one batch shows ends that batch, not the node
            log.exception("webhook events were not sent", app=self._app)
            self._metrics.errors.labels("webhook").inc()
            reason = "error"
        self._under_way -= 1
        self._events_under_way -= len(batch.events)
        if reason:
            self._metrics.webhook_events_dropped.labels(self._app, reason).inc(len(batch.events))
            log.warning("webhook events given up", app=self._app, host=self._host, reason=reason, events=len(batch.events))
        else:
            self._is_full = False
            for event in batch.events:
                self._metrics.webhook_events.labels(self._app, event.name).inc()
        self._queue.done(batch, trio.current_time())
        self._changed.set()

    async def _try(self, batch: Batch) -> str:
        """Send until there is a success, and pause in between; why not, or an empty text."""
        deadline, failures = trio.current_time() + self._settings.retry_for, 0
        while (found := self._find()) is not None:
            if await self._send(*found, batch):
                return ""
            failures += 1
            pause = retry_pause(failures, random.random())
            if trio.current_time() + pause > deadline:
                return "expired"
            await trio.sleep(pause)
            self._metrics.webhook_retries.labels(self._app).inc()
        return "removed"

    async def _send(self, app: App, webhook: Webhook, batch: Batch) -> bool:
        """One request; whether it arrived."""
        start = trio.current_time()
        body = encode_body([event.encoded for event in batch.events], time.time_ns() // 1_000_000)
        result = await self._post.post(webhook.url, {**webhook.headers, **headers_of(app, body)}, body)
        self._metrics.webhook_requests.labels(self._app, result.value).inc()
        self._metrics.webhook_request_seconds.observe(trio.current_time() - start)
        has_arrived = result is Result.SUCCESS
        if not has_arrived and not self._is_failing:
            log.warning("a webhook does not take its events", app=self._app, host=self._host, result=result.value)
        self._is_failing = not has_arrived
        return has_arrived
