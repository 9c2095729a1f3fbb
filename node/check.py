"""Proves from outside that a cluster works: `usher check` signs a user in and sends it an event.

What `helm test` runs. It goes the way of clients and backends, through whatever is in front of the nodes, and needs an
app's key and secret only. Rules for whoever edits this file: every step has its share of one deadline; what went wrong is
said in words for a person, with the step; no secret is ever said.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, open_websocket_url

from node.protocol.signatures import sign, user_string

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.config.apps import App

_EVENT: Final = "usher-check"
_QUOTED: Final = 300
"""Characters of an answer that an error repeats."""


class CheckError(Exception):
    """A step failed; the message says which, and how."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the cluster is, and as whose app to go there.

    `url` is `http://` or `https://`, with the path prefix if there is one; `verify` is whether its certificate must be good.
    """

    url: str
    app: App
    verify: bool = True

    @property
    def websocket_url(self) -> str:
        """Where clients connect."""
        scheme, rest = self.url.rstrip("/").split("://", 1)
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/app/{self.app.key}?protocol=7&client=usher-check"

    @property
    def context(self) -> ssl.SSLContext | None:
        """How to trust the certificate; None without TLS."""
        if not self.url.startswith("https:"):
            return None
        return ssl.create_default_context() if self.verify else ssl._create_unverified_context()  # noqa: S323, SLF001


def check(target: Target, *, timeout: float, say: Callable[[str], None]) -> None:
    """Connect, sign in as a user that nobody else is, send it an event, see it arrive. `say` gets a line for each step.

    Raises `CheckError`, after `timeout` seconds at the latest.
    """
    trio.run(_check, target, timeout, say)


async def _check(target: Target, seconds: float, say: Callable[[str], None]) -> None:
    progress = _Progress(say)
    try:
        with trio.fail_after(seconds):
            await _take_steps(target, progress)
    except trio.TooSlowError:
        raise CheckError(f"{progress.step}: not within {seconds:g} s") from None
    except (OSError, HandshakeError, ConnectionClosed, _Unexpected) as error:
        raise CheckError(f"{progress.step}: {_worded(error)}") from None


class _Unexpected(Exception):  # noqa: N818 - what came
    """Something other than what was to come."""


class _Progress:
    """Which step is under way, and how long each took."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._since = trio.current_time()
        self.step = "connecting"

    def reach(self, step: str) -> None:
        """Say that the step before is done, and name the one that begins."""
        now = trio.current_time()
        self._say(f"{self.step}: done in {(now - self._since) * 1000:.0f} ms")
        self.step, self._since = step, now


async def _take_steps(target: Target, progress: _Progress) -> None:
    user = f"usher-check-{secrets.token_hex(8)}"
    async with open_websocket_url(target.websocket_url, ssl_context=target.context) as websocket:
        established = await _receive(websocket, "pusher:connection_established")
        progress.reach("signing in")
        await websocket.send_message(_sign_in(target.app, established["socket_id"], user))
        await _receive(websocket, "pusher:signin_success")
        progress.reach("sending the user an event")
        await trio.to_thread.run_sync(_send, target, user, abandon_on_cancel=True)
        progress.reach("waiting for the event")
        data = await _receive(websocket, _EVENT)
        if data != user:
            raise _Unexpected(f"expected the event that was sent, got {_cut(data)}")
        progress.reach("closing")
    progress.reach("")


def _sign_in(app: App, socket_id: str, user: str) -> str:
    user_data = json.dumps({"id": user})
    auth = f"{app.key}:{sign(app.secrets[0], user_string(socket_id, user_data))}"
    return json.dumps({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}})


async def _receive(websocket: WebSocketConnection, event: str) -> Any:
    """Wait for an event; its data. Others are passed over, but errors."""
    while True:
        message = json.loads(await websocket.get_message())
        if message["event"] == event:
            data = message.get("data")
            return json.loads(data) if isinstance(data, str) and event != _EVENT else data
        if message["event"] == "pusher:error":
            raise _Unexpected(f"the node said {_cut(message['data'])}")


def _send(target: Target, user: str) -> None:
    """Send the event through the HTTP API. Raises OSError, of which HTTPError is one, if it is not taken."""
    body = json.dumps({"name": _EVENT, "data": user, "channels": [f"#server-to-user-{user}"]}).encode()
    request = urllib.request.Request(_signed_url(target, body), body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60, context=target.context):  # noqa: S310 - the URL is the operator's
        pass


def _signed_url(target: Target, body: bytes) -> str:
    """The URL of the API's events, with a query that signs this body now (protocol.md 8.2)."""
    path = f"/apps/{target.app.id}/events"
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    query = f"auth_key={target.app.key}&auth_timestamp={int(time.time())}&auth_version=1.0&body_md5={digest}"
    signature = sign(target.app.secrets[0], f"POST\n{path}\n{query}")  # without the prefix, as every SDK signs
    return f"{target.url.rstrip('/')}{path}?{query}&auth_signature={signature}"


def _worded(error: Exception) -> str:
    match error:
        case urllib.error.HTTPError():
            return f"the API answered {error.code}: {_cut(error.read(_QUOTED).decode(errors='replace'))}"
        case ConnectionClosed():
            return f"the connection was closed: {error.reason}"
        case _:
            return str(error) or type(error).__name__


def _cut(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
