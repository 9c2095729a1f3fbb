"""Tabs with the real pusher-js and laravel-echo in one Node process, and the official Node SDK in the same.

`driver.mjs` is the other half. A tab reports everything that its user would see, in order, and a test takes the reports
one by one: `await tab.sees("online", ["bob"])` fails if anything else came first. So silence is proved without waiting:
cause something that must be seen after what must not, and see it next.
"""

import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import trio

from tests.client import Credentials
from tests.compat.apps import MAIN, MASTER_KEY, token, user_data, vouch
from tests.processes import LOOPBACK, Node

DRIVER = Path(__file__).with_name("driver.mjs")
PATIENCE = 15.0
"""Seconds until something must have been seen; generous, since the machine may be busy."""

ECHO_KINDS = {"channel": "", "private": "private-", "join": "presence-", "encryptedPrivate": "private-encrypted-"}
"""The prefixes that Echo's methods put in front of a channel's name."""

Authenticate = Callable[[str], Mapping[str, str]]
"""An authentication endpoint: from socket id to `auth` and `user_data`. PermissionError refuses."""
Authorize = Callable[[str, str], Mapping[str, str]]
"""An authorization endpoint: from socket id and channel to what signs the subscription. PermissionError refuses."""


class SdkError(Exception):
    """The Node SDK rejected: `status` of the response, if there was one, and its body or the SDK's own words."""

    def __init__(self, status: int | None, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Tab:
    """One client of the library. `socket_id` is that of its newest connection."""

    def __init__(self, browser: "Browser", name: str, authenticate: Authenticate, app: Credentials) -> None:
        self.name = name
        self.app = app
        self.authenticate = authenticate
        self.socket_id = ""
        self.members: dict[str, Mapping[str, object] | None] = {}
        """Who it is in each channel; None without channel data."""
        self.authorize: Authorize = lambda socket_id, channel: vouch(app, socket_id, channel, self.members[channel])
        self.answer: Mapping[str, str] = {}
        """What the authentication endpoint answered last."""
        self.endpoint_takes = 0.0
        """Seconds until it answers."""
        self.subscribed = trio.Event()
        """Set when the server acknowledged the subscription to the user's own channel."""
        self._browser = browser
        self._report, self._reports = trio.open_memory_channel[list[Any]](1000)

    async def sees(self, *what: object) -> None:
        """Wait for the next report, which must be this one."""
        seen = await self.next()
        assert seen == [*what], f"{self.name} saw {seen}, not {[*what]}"

    async def sees_close(self, code: int, message: str) -> None:
        """Wait for the server's error and close: pusher-js reports the frame, the close, and an error of the socket."""
        await self.sees("error", code, message)
        await self.sees("error", code, message)
        await self.sees("socket error", code, message)

    async def next(self) -> list[Any]:
        """The next report: what happened, and its details."""
        with trio.move_on_after(PATIENCE), contextlib.suppress(trio.EndOfChannel):
            return await self._reports.receive()
        raise AssertionError(f"{self.name} saw nothing more")

    def unseen(self) -> list[list[Any]]:
        """The reports that no test took."""
        unseen = []
        while self._reports.statistics().current_buffer_used:
            unseen.append(self._reports.receive_nowait())
        return unseen

    async def sign_in(self) -> None:
        """`pusher.signin()`: from now on, every connection of this tab signs in."""
        await self.command("sign in")

    async def connect(self) -> None:
        """`pusher.connect()`."""
        await self.command("connect")

    async def disconnect(self) -> None:
        """`pusher.disconnect()`, as closing the page does."""
        await self.command("disconnect")
        await self.sees("disconnected")

    async def subscribe(self, channel: str, member: Mapping[str, object] | None = None) -> None:
        """`pusher.subscribe(channel)`, as this member; everything that the channel hears is reported."""
        self.members[channel] = member
        await self.command("subscribe", channel=channel)

    async def unsubscribe(self, channel: str) -> None:
        """`pusher.unsubscribe(channel)`."""
        await self.command("unsubscribe", channel=channel)

    async def listen(self, kind: str, name: str, member: Mapping[str, object] | None = None) -> str:
        """`Echo.channel(name)`, or `private`, `encryptedPrivate`, `join`, with all callbacks; the whole name."""
        channel = ECHO_KINDS[kind] + name
        self.members[channel] = member
        await self.command("listen", kind=kind, name=name)
        return channel

    async def whisper(self, kind: str, name: str, data: object) -> None:
        """`Echo.private(name).whisper("told", data)`, or `join`."""
        await self.command("whisper", kind=kind, name=name, data=data)

    async def leave(self, name: str) -> None:
        """`Echo.leave(name)`."""
        await self.command("leave", name=name)

    async def trigger(self, channel: str, event: str, data: object) -> None:
        """`channel.trigger(event, data)`."""
        await self.command("trigger", channel=channel, event=event, data=data)

    async def send(self, event: str, data: object) -> None:
        """Send a message as the library would, with nothing checked."""
        await self.command("send", event=event, data=data)

    async def send_sign_in(self, answer: Mapping[str, str]) -> None:
        """Send `pusher:signin` once more on this connection, which the library itself never does."""
        await self.send("pusher:signin", answer)

    async def command(self, do: str, **details: object) -> None:
        """Have the driver do something, and see nothing yet."""
        await self._browser.command(self, do, **details)

    def report(self, what: list[Any], socket_id: str) -> None:
        """Take a report from the driver."""
        self.socket_id = socket_id or self.socket_id
        if what[0] == "subscribed":  # when it comes among other reports is no promise
            self.subscribed.set()
        else:
            self._report.send_nowait(what)

    def end(self) -> None:
        """Take the end of the driver: there will be no more reports."""
        self._report.close()


class Browser:
    """The Node process."""

    def __init__(self, process: trio.Process, nursery: trio.Nursery) -> None:
        self.tabs: dict[str, Tab] = {}
        self._nursery = nursery
        self._process = process
        self._writing = trio.Lock()
        self._names = count(1)
        self._calls: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}

    async def open(
        self,
        node: Node,
        user: str = "",
        watching: Sequence[object] = (),
        *,
        app: Credentials = MAIN,
        authenticate: Authenticate | None = None,
        library: str = "pusher-js",
        options: Mapping[str, object] | None = None,
    ) -> Tab:
        """Open a tab that is connected to `node`, and will be `user` when it signs in."""
        tab = self.make_tab(user, watching, app, authenticate)
        await self.command(tab, "open", library=library, key=app.key, port=node.port, options=options or {})
        await tab.sees("connected")
        return tab

    async def sign_in(self, node: Node, user: str, watching: Sequence[object] = (), **options: Any) -> Tab:
        """Open a tab, sign in, and return when its own channel is acknowledged; what it watches is not seen yet."""
        tab = await self.open(node, user, watching, **options)
        await tab.sign_in()
        kind, *details = await tab.next()
        assert (kind, details) == ("signed in", [tab.answer["user_data"]])
        with trio.fail_after(PATIENCE):
            await tab.subscribed.wait()
        return tab

    def make_tab(self, user: str, watching: Sequence[object], app: Credentials, authenticate: Authenticate | None) -> Tab:
        """A tab that is not open yet."""
        name = f"tab {next(self._names)} ({user[:20]})"
        description = user_data(user, watching)
        tab = Tab(self, name, authenticate or (lambda socket_id: token(app, socket_id, description)), app)
        self.tabs[name] = tab
        return tab

    async def call(self, node: Node, method: str, *arguments: object, app: Credentials = MAIN) -> Any:
        """Call a method of the official Node SDK; its result, decoded from JSON. Raises `SdkError`."""
        number = next(self._names)
        self._calls[number], answers = trio.open_memory_channel[dict[str, Any]](1)
        sdk = {"appId": app.app_id, "key": app.key, "secret": app.secret, "host": LOOPBACK, "port": node.port}
        more = {"useTLS": False, "encryptionMasterKeyBase64": MASTER_KEY}
        await self._write(call=number, sdk={**sdk, **more}, method=method, arguments=arguments)
        with trio.fail_after(PATIENCE):
            answer = await answers.receive()
        if "error" in answer:
            raise SdkError(answer["error"]["status"], answer["error"]["text"])
        return answer.get("result")

    async def command(self, tab: Tab, do: str, **details: object) -> None:
        """Send a command to a tab."""
        await self._write(tab=tab.name, do=do, **details)

    async def run(self) -> None:
        """Hear what the driver says, until it ends."""
        assert self._process.stdout is not None
        buffer = b""
        async for chunk in self._process.stdout:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        for tab in self.tabs.values():
            tab.end()

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"call": number}:
                self._calls.pop(number).send_nowait(message)
            case {"tab": name, "saw": what}:
                self.tabs[name].report(what, message.get("socket_id", ""))
            case {"tab": name, "asks": socket_id, "channel": channel}:
                self._nursery.start_soon(self._authorize, self.tabs[name], socket_id, channel)
            case {"tab": name, "asks": socket_id}:
                self._nursery.start_soon(self._authenticate, self.tabs[name], socket_id)

    async def _authenticate(self, tab: Tab, socket_id: str) -> None:
        await trio.sleep(tab.endpoint_takes)
        try:
            tab.answer = tab.authenticate(socket_id)
        except PermissionError as refusal:
            await self.command(tab, "authenticate", socket_id=socket_id, error=str(refusal))
        else:
            await self.command(tab, "authenticate", socket_id=socket_id, token=tab.answer)

    async def _authorize(self, tab: Tab, socket_id: str, channel: str) -> None:
        try:
            answer = tab.authorize(socket_id, channel)
        except PermissionError as refusal:
            await self.command(tab, "authorize", socket_id=socket_id, channel=channel, error=str(refusal))
        else:
            await self.command(tab, "authorize", socket_id=socket_id, channel=channel, token=answer)

    async def _write(self, **command: object) -> None:
        assert self._process.stdin is not None
        async with self._writing:
            await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")


@contextlib.asynccontextmanager
async def open_browser(log: Path) -> AsyncIterator[Browser]:
    """A browser without tabs. What its process writes to stderr goes to `log`; it must end with nothing written there."""
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            ["node", str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        async with trio.open_nursery() as nursery:
            browser = Browser(process, nursery)
            nursery.start_soon(browser.run)
            yield browser
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
    said = await trio.Path(log).read_text()
    assert not said, said
