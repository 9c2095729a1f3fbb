"""A receiver of webhooks: a small HTTP server that notes requests and answers as it is told.

It speaks just enough HTTP/1.1 for one client that keeps its connection. `answers` are taken one after another, and the last
one for ever: a status; a status with headers; "hang" (no answer), "close" (the connection ends before one).
"""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

Answer = int | str | tuple[int, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What came. `headers` by lower-case name."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in its body."""
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


@dataclass(slots=True)
class Receiver:
    """See above."""

    port: int = 0
    answers: list[Answer] = field(default_factory=lambda: [200])
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    came: trio.Event = field(default_factory=trio.Event)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events that came, in order."""
        return [event for request in self.requests for event in request.events]

    async def wait_for(self, is_there: Callable[["Receiver"], object], seconds: float = 10.0) -> None:
        """Return once it is there; a test fails that waits too long."""
        with trio.move_on_after(seconds):
            while not is_there(self):
                self.came = trio.Event()
                await self.came.wait()
        assert is_there(self), "\n".join(f"{request.at:.3f} {request.events}" for request in self.requests)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection."""
        self.connections += 1
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    data += (more := await stream.receive_some())
                    if not more:
                        return
                head, _, data = data.partition(b"\r\n\r\n")
                line, *lines = head.decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
                while len(data) < int(headers["content-length"]):
                    data += await stream.receive_some()
                body, data = data[: int(headers["content-length"])], data[int(headers["content-length"]) :]
                self.requests.append(Request(line, headers, body, trio.current_time()))
                self.came.set()
                if not await self._answer(stream):
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.abc.Stream) -> bool:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang":
            await trio.sleep_forever()
        if isinstance(answer, str):
            return False
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        await stream.send_all("\r\n".join([*lines, "Content-Length: 2", "", "ok"]).encode())
        return True


@asynccontextmanager
async def run_receiver(*answers: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on 127.0.0.1 that gives these answers."""
    receiver = Receiver(answers=list(answers or (200,)))
    async with trio.open_nursery() as nursery:
        serve = (
            partial(trio.serve_tcp, host="127.0.0.1")
            if tls is None
            else partial(trio.serve_ssl_over_tcp, ssl_context=tls, host="127.0.0.1", https_compatible=True)
        )
        listeners = await nursery.start(partial(serve, receiver.handle, port))
        receiver.port = (
            listeners[0].socket.getsockname()[1] if tls is None else listeners[0].transport_listener.socket.getsockname()[1]
        )
        yield receiver
        nursery.cancel_scope.cancel()
