"""An application backend for tests: signs requests to the HTTP API and keeps its connections, as good SDKs do.

It shares no code with the node, so that both cannot sign wrongly in the same way.
"""

import hashlib
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import trio

from tests.client import Credentials
from tests.wire import Response, WireClient, request


class ApiClient:
    """The API of one node, for one app. Requests may run at the same time; each takes an idle connection or a new one."""

    def __init__(self, app: Credentials, port: int, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._app = app
        self._port = port
        self._tls = tls
        self._host = host
        self._idle: list[WireClient] = []

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Response:
        """Send one signed request below /apps/<id>; whatever the status, return the response."""
        target = f"/apps/{self._app.app_id}{path}"
        content = b"" if body is None else json.dumps(body).encode()
        query = f"auth_key={self._app.key}&auth_timestamp={int(time.time())}&auth_version=1.0"
        if content:
            query += f"&body_md5={hashlib.md5(content).hexdigest()}"  # noqa: S324 - the protocol's choice
        signature = self._app.sign(f"{method}\n{target}\n{query}")
        data = request(method, f"{target}?{query}&auth_signature={signature}", content)
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            await connection.send(data)
            response = await connection.read_response()
        except BaseException:
            await connection.aclose()
            raise
        self._idle.append(connection)
        return response

    async def get(self, path: str) -> Any:
        """The JSON of a request that must succeed."""
        return _succeeded(await self.ask("GET", path))

    async def post(self, path: str, body: Mapping[str, object]) -> Any:
        """The JSON of a request that must succeed."""
        return _succeeded(await self.ask("POST", path, body))

    async def send_to_user(self, user: str, event: str, data: str) -> Response:
        """Publish an event for a user."""
        body = {"name": event, "data": data, "channels": [f"#server-to-user-{user}"]}
        return await self.ask("POST", "/events", body)

    async def terminate(self, user: str) -> None:
        """Close the user's connections."""
        await self.post(f"/users/{quote(user, safe='')}/terminate_connections", {})

    async def connections(self, user: str) -> int:
        """How many connections the user has in the cluster."""
        answer = await self.get(f"/users/{quote(user, safe='')}")
        assert answer["online"] is (answer["connections"] > 0), answer
        count: int = answer["connections"]
        return count

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        for connection in self._idle:
            await connection.aclose()
        self._idle = []

    async def _connect(self) -> WireClient:
        stream: trio.abc.Stream = await trio.open_tcp_stream(self._host, self._port)
        if self._tls is not None:
            stream = trio.SSLStream(stream, self._tls, server_hostname=self._host)
        return WireClient(stream)


def _succeeded(response: Response) -> Any:
    assert response.status == 200, (response.status, response.body)
    return json.loads(response.body)
