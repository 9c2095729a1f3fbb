"""A test event for each webhook of an app, sent at once and only once: `usher webhooks test`."""

import time
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from node.config.apps import App
from node.config.keys import ConfigError
from node.config.webhooks import WebhookSettings
from node.webhooks.events import Fact, Kind
from node.webhooks.post import Post, Result, make_context
from node.webhooks.request import encode_body, headers_of

CHANNEL = "usher-test"


async def try_webhooks(apps: Iterable[App], app_id: str, settings: WebhookSettings) -> Sequence[tuple[str, Result]]:
    """The host of each webhook of an app, and how its request ended. Raises `ConfigError`."""
    app = next((app for app in apps if app.id == app_id and app.webhooks), None)
    if app is None:
        raise ConfigError(f"expected the id of an app with webhooks, got {app_id!r}")
    event = Fact(Kind.CHANNEL, app.id, CHANNEL).event(begins=True, sequence=0)
    body = encode_body([event.encoded], time.time_ns() // 1_000_000)
    results = []
    for webhook in app.webhooks:
        post = Post(settings, make_context(settings))
        try:
            result = await post.post(webhook.url, {**webhook.headers, **headers_of(app, body)}, body)
        finally:
            await post.aclose()
        results.append((urlsplit(webhook.url).hostname or "", result))
    return results
