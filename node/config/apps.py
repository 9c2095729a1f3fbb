"""Apps: the tenants of a node, and the file that names them.

`apps.toml` holds one `[[apps]]` table for each. Its keys are the fields of `App`, and `secret` for those with
a single one. An `App` never changes: a reload puts others in place for connections to come, and a connection
that is open keeps the one it was opened with. No repr, error or log shows a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from node.config.keys import ConfigError, Table, about, build_table, decode_table, read_toml, unknown_key
from node.config.webhooks import Webhook, decode_webhooks

if TYPE_CHECKING:
    from pathlib import Path

_Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f:/?#%&]+\Z")]
_NAME = {"expected": "a text of 1 to 200 characters without blanks and : / ? # % &"}


class App(Table, frozen=True):
    """One app. `secrets[0]` signs what the node signs; every secret verifies, so that they can be rotated."""

    id: Annotated[_Name, about("Names the app in API paths and in metrics. Unique.", **_NAME)]
    key: Annotated[_Name, about("The public half of the credentials, in `/app/<key>`. Unique.", **_NAME)]
    secrets: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        about(
            "The other half. The first signs, every one verifies: to rotate, put the new one first, and "
            "remove the old one later. `secret` is short for a list of one.",
            secret=True,
            min_length=1,
        ),
    ]
    name: Annotated[str, about("For people who read the file.")] = ""
    enabled: Annotated[bool, about("`false` refuses connections with 4003 and API requests with 403.")] = True
    require_authorization: Annotated[
        bool, about("Close connections that neither sign in nor authorize a channel in time, with 4009.")
    ] = False
    authorization_timeout: Annotated[float, about("Seconds that `require_authorization` grants.", gt=0, le=3600)] = 30.0
    watchlist_limit: Annotated[
        int, about("Ids of a watchlist that count; 4302 tells a client that it has more.", ge=0, le=10_000)
    ] = 100
    watchlist_events: Annotated[bool, about("`false` ignores watchlists.")] = True
    terminate_code: Annotated[
        int,
        about(
            "Close code for the connections of a terminated user. Clients reconnect at once on 42xx, after a "
            "second on 41xx, and not at all on 40xx.",
            ge=4000,
            le=4999,
        ),
    ] = 4200
    client_events: Annotated[bool, about("Let clients send `client-*` events to private and presence channels.")] = False
    client_events_per_second: Annotated[
        float, about("Client events of one connection, 4301 beyond; 0 sets no limit.", ge=0, le=1_000_000)
    ] = 10.0
    max_event_bytes: Annotated[int, about("Longest `data` of one event.", ge=1, le=10_000_000)] = 10_240
    channels_per_event: Annotated[int, about("Channels that one event of the API may go to.", ge=1, le=10_000)] = 100
    events_per_batch: Annotated[int, about("Events that one batch of the API may hold.", ge=1, le=10_000)] = 10
    max_connections: Annotated[
        int,
        about(
            "Connections of this app in the cluster, 4004 beyond; those that `require_authorization` waits for "
            "do not count. 0 sets no limit.",
            ge=0,
            le=10_000_000,
        ),
    ] = 0
    channel_name_limit: Annotated[int, about("Longest name of a channel, prefix included.", ge=1, le=1000)] = 200
    subscriptions_per_connection: Annotated[
        int, about("Channels that one connection may subscribe to; 0 sets no limit.", ge=0, le=1_000_000)
    ] = 1000
    presence_members: Annotated[int, about("Users in one presence channel; 0 sets no limit.", ge=0, le=1_000_000)] = 100
    presence_user_bytes: Annotated[
        int, about("Longest `user_info` of a member of a presence channel.", ge=2, le=1_000_000)
    ] = 1024
    subscription_count: Annotated[
        bool, about("Tell subscribers how many subscriptions their channel has; never on presence channels.")
    ] = False
    cache_ttl: Annotated[float, about("Seconds for which the last event of a cache channel is kept.", gt=0, le=86_400)] = (
        1800.0
    )
    allowed_origins: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        about("Origins that browsers may connect from, such as `https://*.example.com`; empty allows all."),
    ] = ()
    api_requests_per_second: Annotated[
        float, about("API requests of this app on one node, 429 beyond; 0 sets no limit.", ge=0, le=1_000_000)
    ] = 0.0
    api_events_per_second: Annotated[
        float,
        about(
            "Events of this app through one node, counted for each channel of an event, 429 beyond; 0 sets no limit.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0.0
    require_tls: Annotated[bool, about("Close connections that came without TLS, with 4000.")] = False
    webhooks: Annotated[
        tuple[Webhook, ...],
        about("Where the app's backend hears what happens.", secret=True, expected="[[apps.webhooks]] tables"),
    ] = ()


class Apps:
    """The apps of a node by key and by id. `replace` changes them in place: everyone can hold this object."""

    def __init__(self, apps: Iterable[App] = ()) -> None:
        self._by_id: dict[str, App] = {}
        self._by_key: dict[str, App] = {}
        self.version = 0
        """Grows with each change."""
        self.replace(apps)

    def by_key(self, key: str) -> App | None:
        """Return the app that clients name with `key`."""
        return self._by_key.get(key)

    def by_id(self, app_id: str) -> App | None:
        """Return the app that API paths name with `app_id`."""
        return self._by_id.get(app_id)

    def replace(self, apps: Iterable[App]) -> None:
        """Put `apps` in the place of all others; an id or key twice raises ConfigError and changes none."""
        new = tuple(apps)
        by_id, by_key = {app.id: app for app in new}, {app.key: app for app in new}
        problems = [*_repeated("id", [app.id for app in new]), *_repeated("key", [app.key for app in new])]
        if problems:
            raise ConfigError(*problems)
        self._by_id, self._by_key = by_id, by_key
        self.version += 1

    def __iter__(self) -> Iterator[App]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)


def load_apps(path: str | Path) -> tuple[App, ...]:
    """Read the apps of an `apps.toml`; raises ConfigError with every problem, naming the file and the key."""
    table = read_toml(path)
    entries = table.get("apps", [])
    problems = [unknown_key(name, str(path), {"apps": None}) for name in table if name != "apps"]
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(*problems, f"{path}: apps: expected [[apps]] tables, got something else")
    apps = []
    for number, entry in enumerate(entries, 1):
        try:
            apps.append(_decode_app(entry, f"{path}: {_place(number, entry)}"))
        except ConfigError as error:
            problems.extend(error.problems)
    problems.extend(f"{path}: {problem}" for problem in _repeated("id", [app.id for app in apps]))
    problems.extend(f"{path}: {problem}" for problem in _repeated("key", [app.key for app in apps]))
    if problems:
        raise ConfigError(*problems)
    return tuple(apps)


def choose_app(apps: Iterable[App], app_id: str | None, source: str) -> App:
    """Return the app with this id, or without an id the first that is enabled; raises ConfigError if there is none."""
    for app in apps:
        if app.id == app_id if app_id else app.enabled:
            return app
    raise ConfigError(f"{source}: apps: expected {f'an app with the id {app_id}' if app_id else 'an app'}, got none")


def _decode_app(entry: Mapping[str, Any], source: str) -> App:
    """Check one `[[apps]]` table; `source` names the file and the table in errors."""
    table = dict(entry)
    if "secret" in table:
        if "secrets" in table:
            raise ConfigError(f"{source}: secret: expected secret or secrets, got both")
        table["secrets"] = [table.pop("secret")]
    webhooks = decode_webhooks(table.pop("webhooks", []), source)
    return build_table({**decode_table(table, App, source), "webhooks": webhooks}, App, source)


def _place(number: int, entry: Mapping[str, Any]) -> str:
    """Say which table is meant, by its id if it has one that can be shown."""
    app_id = entry.get("id")
    return f"apps[{number}] (id {app_id[:200]!r})" if isinstance(app_id, str) else f"apps[{number}]"


def _repeated(name: str, values: list[str]) -> list[str]:
    """Say which ids or keys stand for more than one app."""
    twice = sorted({value for value in values if values.count(value) > 1})
    return [f"apps: {name} {value!r} belongs to more than one app" for value in twice]
