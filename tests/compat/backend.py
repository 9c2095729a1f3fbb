"""The application's backend: the HTTP API by hand, and the official Python SDK."""

import json
from functools import partial
from typing import Any
from urllib.parse import quote

import pusher
import trio

from tests.api_client import ApiClient
from tests.client import Credentials
from tests.compat.apps import MAIN, MASTER_KEY
from tests.processes import LOOPBACK, Node

PATIENCE = 15.0


class Backend(ApiClient):
    """One app at one node. What it sends twice through one node arrives in this order."""

    def __init__(self, node: Node, app: Credentials = MAIN) -> None:
        super().__init__(app, node.port)
        self.sdk: Any = pusher.Pusher(
            app_id=app.app_id,
            key=app.key,
            secret=app.secret,
            host=LOOPBACK,
            port=node.port,
            ssl=False,
            encryption_master_key_base64=MASTER_KEY,
        )

    async def tell(self, user: str, event: str, data: object, **fields: object) -> None:
        """Send an event to a user, by the form that names the user in the path (protocol.md 3.3)."""
        body = {"name": event, "data": json.dumps(data), **fields}
        assert await self.post(f"/users/{quote(user, safe='')}/events", body) == {}

    async def trigger(self, user: str, event: str, data: object, **fields: object) -> None:
        """Send an event to a user, by the form that names the user's channel (protocol.md 3.3)."""
        body = {"name": event, "data": json.dumps(data), "channels": [f"#server-to-user-{user}"], **fields}
        assert await self.post("/events", body) == {}

    async def until_connections(self, user: str, count: int) -> None:
        """Wait until the cluster counts so many connections of the user."""
        with trio.fail_after(PATIENCE):
            while await self.connections(user) != count:
                await trio.sleep(0.02)

    async def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the official Python SDK; what it raises is its own."""
        return await trio.to_thread.run_sync(partial(getattr(self.sdk, method), *arguments))

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        self.sdk._pusher_client.http.session.close()
