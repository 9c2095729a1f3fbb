"""The application's side: the apps of the test cluster, signatures, and signed requests to the HTTP API.

It shares no code with the node, so that both cannot be wrong in the same way.
"""

import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import pusher
import trio

from tests.processes import LOOPBACK, Node

Answer = tuple[int, Any]
"""Status and decoded body."""


@dataclass(frozen=True, slots=True)
class App:
    """An app as its owner knows it. `secret` signs; the node may accept others (rotation)."""

    id: str
    key: str
    secret: str

    def sign(self, text: str) -> str:
        """The hex signature of a text."""
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def token(self, socket_id: str, user_data: str) -> dict[str, str]:
        """What an authentication endpoint answers (protocol.md 2.2)."""
        return {"auth": f"{self.key}:{self.sign(f'{socket_id}::user::{user_data}')}", "user_data": user_data}


MAIN = App("1001", "main-key", "main-secret")
OTHER = App("1002", "other-key", "other-secret")
ROTATING = App("1003", "rotating-key", "new-secret")
ROTATING_OUT = App("1003", "rotating-key", "old-secret")
GUARDED = App("1004", "guarded-key", "guarded-secret")
SHORT = App("1005", "short-key", "short-secret")

APPS = """
[[apps]]
id = "1001"
key = "main-key"
secret = "main-secret"

[[apps]]
id = "1002"
key = "other-key"
secret = "other-secret"

[[apps]]
id = "1003"
key = "rotating-key"
secrets = ["new-secret", "old-secret"]

[[apps]]
id = "1004"
key = "guarded-key"
secret = "guarded-secret"
require_authorization = true
authorization_timeout = 0.5

[[apps]]
id = "1005"
key = "short-key"
secret = "short-secret"
watchlist_limit = 2
"""


def user_data(user_id: object, watching: Sequence[object] = (), **fields: object) -> str:
    """A user as the application's server describes it; without a watchlist where it would be empty."""
    watchlist = {"watchlist": list(watching)} if watching else {}
    return json.dumps({"id": user_id, **fields, **watchlist})


async def request(node: Node, app: App, method: str, path: str, body: object = None) -> Answer:
    """A signed request (protocol.md 8.2); `path` is percent-encoded, and without `/apps/<id>`."""
    content = b"" if body is None else json.dumps(body).encode()
    target = f"/apps/{app.id}{path}"
    query = f"auth_key={app.key}&auth_timestamp={int(time.time())}&auth_version=1.0"
    if content:
        query += f"&body_md5={hashlib.md5(content, usedforsecurity=False).hexdigest()}"
    query += f"&auth_signature={app.sign(f'{method}\n{target}\n{query}')}"
    return await trio.to_thread.run_sync(_send, node, method, f"{target}?{query}", content)


def _send(node: Node, method: str, target: str, content: bytes) -> Answer:
    connection = http.client.HTTPConnection(LOOPBACK, node.port, timeout=10)
    try:
        connection.request(method, target, content or None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


async def send(node: Node, user_id: str, name: str, data: object = None, *, app: App = MAIN, **fields: object) -> None:
    """Send an event to a user, by the form that names the user in the path (protocol.md 3.3)."""
    event = {"name": name, "data": json.dumps(data), **fields}
    assert await request(node, app, "POST", f"/users/{quote(user_id, safe='')}/events", event) == (200, {})


async def terminate(node: Node, user_id: str, *, app: App = MAIN) -> None:
    """Close the user's connections (protocol.md 5)."""
    assert await request(node, app, "POST", f"/users/{quote(user_id, safe='')}/terminate_connections", {}) == (200, {})


async def count_connections(node: Node, user_id: str, *, app: App = MAIN) -> int:
    """How many signed-in connections the user has in the cluster."""
    status, body = await request(node, app, "GET", f"/users/{quote(user_id, safe='')}")
    assert status == 200
    assert body["online"] == (body["connections"] > 0)
    return int(body["connections"])


async def until_connections(node: Node, user_id: str, count: int, *, app: App = MAIN) -> None:
    """Wait until the cluster counts so many connections of the user."""
    with trio.fail_after(10):
        while await count_connections(node, user_id, app=app) != count:  # noqa: ASYNC110 - another process's state
            await trio.sleep(0.02)
