"""Webhooks as they are configured: an app's `[[apps.webhooks]]` tables, and the settings that all share (protocol.md 9).

What may stand in a URL or a header is decided here; whether its address may be reached is `node/webhooks/addresses.py`'s
question, each time a request is sent. URLs and headers may carry what only their owner should know: both count as secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from node.config.keys import ConfigError, Table, about, build_table, decode_table

EventName = Literal[
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
    "user_online",
    "user_offline",
]
QUIET: Final[frozenset[EventName]] = frozenset({"subscription_count", "user_online", "user_offline"})
"""Sent only where they are asked for."""

_EVENTS: Final[tuple[EventName, ...]] = get_args(EventName)
_LOUD: Final = tuple(name for name in _EVENTS if name not in QUIET)
_ALL_LISTED: Final = ", ".join(_EVENTS)
_QUIET_LISTED: Final = ", ".join(f"`{name}`" for name in _EVENTS if name in QUIET)
_URL: Final = r'^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?)(:[0-9]{1,5})?([/?][!-"$-~]*)?\Z'
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]{0,4000}[!-~])?")
_OURS: Final = frozenset(
    {"connection", "content-length", "content-type", "expect", "host", "te", "transfer-encoding", "upgrade"}
)


class Webhook(Table, frozen=True):
    """One address that an app's events are posted to."""

    url: Annotated[
        str,
        about(
            "Where the events are posted to; must be https, and public, unless `webhooks.allow_http` and "
            "`webhooks.allow_private` say otherwise.",
            secret=True,
            max_length=2000,
            pattern=_URL,
            expected="an https:// URL without user, password and fragment, in ASCII",
        ),
    ]
    events: Annotated[
        tuple[EventName, ...],
        about(
            f"Which events; without this key all but {_QUIET_LISTED}.",
            min_length=1,
            expected=f"a list of {_ALL_LISTED}",
        ),
    ] = _LOUD
    headers: Annotated[
        dict[str, str],
        about(
            "Further headers of each request, such as an `Authorization`.",
            secret=True,
            max_length=20,
            expected="a table of header names and texts",
        ),
    ] = {}  # noqa: RUF012 - msgspec copies it for each table


class WebhookSettings(Table, frozen=True):
    """How webhooks are sent, for all apps."""

    hold: Annotated[
        float,
        about("Seconds that `channel_vacated`, `member_removed` and `user_offline` wait for a return.", ge=0, le=60),
    ] = 3.0
    batch_interval: Annotated[float, about("Seconds over which events gather into one request.", ge=0, le=60)] = 0.25
    batch_events: Annotated[int, about("Most events of one request; 1 sends each by itself.", ge=1, le=1000)] = 20
    concurrency: Annotated[int, about("Requests to one webhook at the same time.", ge=1, le=100)] = 4
    timeout: Annotated[float, about("Seconds until a request that is not answered has failed.", gt=0, le=60)] = 4.0
    retry_for: Annotated[float, about("Seconds over which a request that failed is sent again.", ge=0, le=3600)] = 300.0
    queue_bytes: Annotated[
        int,
        about("Bytes of events that may wait for one webhook; beyond, the oldest are dropped.", ge=16_384, le=2**30),
    ] = 8_388_608
    allow_http: Annotated[bool, about("Send to `http://` URLs too.")] = False
    allow_private: Annotated[
        bool, about("Send to loopback, private, link-local and other addresses that are not public.")
    ] = False
    ca: Annotated[str, about("PEM file of the authorities to trust; empty: the system's.")] = ""


def decode_webhooks(entries: object, source: str) -> tuple[Webhook, ...]:
    """Check an app's `[[apps.webhooks]]` tables; raises ConfigError with every problem, and shows no URL and no header."""
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(f"{source}: webhooks: expected [[apps.webhooks]] tables, got something else")
    webhooks: list[Webhook] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            webhooks.append(_decode_webhook(entry, f"{source}: webhooks[{number}]"))
        except ConfigError as error:
            problems.extend(error.problems)
    if len({webhook.url for webhook in webhooks}) < len(webhooks):
        problems.append(f"{source}: webhooks: a URL stands there twice; give its events in one table")
    if problems:
        raise ConfigError(*problems)
    return tuple(webhooks)


def _decode_webhook(entry: Mapping[str, Any], source: str) -> Webhook:
    webhook = build_table(decode_table(entry, Webhook, source), Webhook, source)
    problems = [
        f"{source}: headers: {problem}" for name in webhook.headers if (problem := _refused(name, webhook.headers[name]))
    ]
    try:
        urlsplit(webhook.url).port  # noqa: B018 - raises
    except ValueError:
        problems.append(f"{source}: url: expected a port up to 65535, got a greater one")
    if problems:
        raise ConfigError(*problems)
    return webhook


def _refused(name: str, value: str) -> str:
    """Why a header cannot be sent; empty if it can."""
    if not _HEADER_NAME.fullmatch(name):
        return f"{name[:100]!r} is no name of a header"
    if name.lower() in _OURS or name.lower().startswith("x-pusher-"):
        return f"{name} is the node's own"
    return "" if _HEADER_VALUE.fullmatch(value) else f"{name}: expected a text in ASCII, got a value that is not shown"
