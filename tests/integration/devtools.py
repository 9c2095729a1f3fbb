"""A headless Chromium for tests, driven through its DevTools protocol over a WebSocket.

Small on purpose: open a page, run JavaScript in it, wait until an expression is true, take a picture. Nothing but
Chromium itself is needed. Errors that a page logs (exceptions, refused resources) are collected in `Page.errors`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
LARGEST_MESSAGE = 64 * 1024 * 1024  # a picture
WAIT_TIMEOUT = 20.0


def chromium_path() -> str | None:
    """Where Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Page:
    """One tab. Its methods raise AssertionError when the page throws or a wait takes longer than WAIT_TIMEOUT."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.errors: list[str] = []
        self._browser = browser
        self._target = target
        self._session = session

    async def command(self, method: str, **params: object) -> dict[str, Any]:
        """Send a DevTools command to this tab and return its result."""
        return await self._browser.command(method, self._session, **params)

    async def evaluate(self, expression: str) -> Any:
        """Run JavaScript in the page and return its value; a promise is awaited."""
        answer = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def wait_until(self, expression: str) -> None:
        """Return when the JavaScript `expression` is true."""
        with trio.move_on_after(WAIT_TIMEOUT):
            while not await self.evaluate(expression):
                await trio.sleep(0.05)
            return
        raise AssertionError(f"never true: {expression}\n{await self.evaluate('document.body.innerText')}")

    async def wait_for_text(self, selector: str, text: str) -> None:
        """Return when an element that `selector` matches shows `text`."""
        await self.wait_until(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".some(element => element.innerText.includes({json.dumps(text)}))"
        )

    async def click(self, selector: str) -> None:
        """Click the element that `selector` matches."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def take_picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of what is visible, or of the whole page. A tab in the background is not drawn: bring it up."""
        await self.command("Page.bringToFront")
        answer = await self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    async def close(self) -> None:
        """Close the tab, as its user would."""
        await self._browser.command("Target.closeTarget", targetId=self._target)


class Browser:
    """A running Chromium. Made by `open_browser`."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._ids = count(1)
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def open_page(self, url: str) -> Page:
        """Open a tab and return when its page has loaded."""
        target = (await self.command("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.command("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self._pages[session] = Page(self, target, session)
        for domain in ("Runtime", "Log", "Page"):
            await page.command(f"{domain}.enable")
        await page.command("Page.navigate", url=url)
        await page.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    async def command(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Send a DevTools command and return its result; AssertionError if Chromium refuses it."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._answers[number], answers = trio.open_memory_channel[dict[str, Any]](1)
        await self._connection.send_message(json.dumps(message))
        answer = await answers.receive()
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def receive(self) -> None:
        """Hand out what Chromium says until it is gone."""
        while True:
            try:
                message = json.loads(await self._connection.get_message())
            except ConnectionClosed:
                return
            if "id" in message:
                self._answers.pop(message["id"]).send_nowait(message)
            elif page := self._pages.get(message.get("sessionId", "")):
                page.errors.extend(_errors_in(message))


def _errors_in(message: dict[str, Any]) -> list[str]:
    match message["method"]:
        case "Runtime.exceptionThrown":
            return [json.dumps(message["params"]["exceptionDetails"])]
        case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
            entry = message["params"]["entry"]
            return [f"{entry['text']} {entry.get('url', '')}"]
        case _:
            return []


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Start Chromium with an empty profile; it and its profile are gone afterwards."""
    path = chromium_path()
    assert path, "no Chromium"
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = (path, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank")
        process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with open_websocket_url(
                await _devtools_url(Path(profile)), max_message_size=LARGEST_MESSAGE
            ) as connection:
                browser = Browser(connection)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(browser.receive)
                    yield browser
                    nursery.cancel_scope.cancel()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers too, or they write on into the profile
            process.wait(10)


async def _devtools_url(profile: Path) -> str:
    """Wait until Chromium has written down where its DevTools are."""
    file = trio.Path(profile / "DevToolsActivePort")
    with trio.fail_after(60):
        while not (await file.exists() and len((await file.read_text()).split()) == 2):
            await trio.sleep(0.05)
    port, path = (await file.read_text()).split()
    return f"ws://127.0.0.1:{port}{path}"
