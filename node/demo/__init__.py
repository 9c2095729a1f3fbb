"""`usher demo`: a NATS server, a few nodes, an application backend and a web page, all on this machine.

The demo is an ordinary user of Usher: its nodes are `usher serve`, its backend (backend.py) uses the official
Python SDK, its page (page.*) uses pusher-js. Nothing here reaches into a node. Everything is a child process with
a task of its own, uses secrets made for this run, and ends with it:

    base nursery ── signals, nats-server
      └─ inner nursery ── nodes, backend     (stopped first, while the bus is still there)
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from node.demo import programs
from node.demo.children import DemoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from node.demo.programs import Credentials, NodeAddress

PUSHER_JS_URL = "https://js.pusher.com/8.6.0/pusher.min.js"
MOST_NODES = 9

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What its user chose. `port` 0 takes a free one; `pusher_js` None has the page load it from the CDN."""

    host: str
    port: int
    nodes: int
    pusher_js: Path | None


def main(*, port: int, nodes: int, pusher_js: str | None, host: str = "127.0.0.1") -> int:
    """Run the demo until SIGINT, SIGTERM or SIGHUP; return the exit status: 1 after errors, printed.

    When this returns, every process that it started is gone. `Open http://HOST:PORT/` is printed when the page
    can be used.
    """
    failures: list[DemoError] = []
    try:
        settings = DemoSettings(host, port, nodes, Path(pusher_js).resolve() if pusher_js else None)
        _check(settings)
        trio.run(_run, settings)
    except* DemoError as errors:
        failures.extend(_leaves(errors))
    except* KeyboardInterrupt:
        pass  # it came before the signals were ours, or after
    for failure in failures:
        click.echo(f"usher demo: {failure}", err=True)
    return 1 if failures else 0


def _check(settings: DemoSettings) -> None:
    if not 1 <= settings.nodes <= MOST_NODES:
        raise DemoError(f"--nodes must be between 1 and {MOST_NODES}, not {settings.nodes}.")
    if settings.pusher_js and not settings.pusher_js.is_file():
        raise DemoError(f"--pusher-js: there is no file {settings.pusher_js}")
    missing = [name for name in ("flask", "pusher") if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"Missing: {', '.join(missing)}. `pip install 'usher-realtime[demo]'` brings them along.")


async def _run(settings: DemoSettings) -> None:
    with (
        trio.open_signal_receiver(*_STOP_SIGNALS) as signals,
        _listen(settings.host, settings.port) as listener,
        tempfile.TemporaryDirectory(prefix="usher-demo-") as directory,
    ):
        async with trio.open_nursery() as base:
            work = trio.CancelScope()
            base.start_soon(_cancel_on_signal, signals, work)
            with work:
                await _run_programs(base, settings, listener, Path(directory))
            base.cancel_scope.cancel()
    click.echo("Stopped. Nothing is left running.")


async def _cancel_on_signal(signals: AsyncIterator[int], work: trio.CancelScope) -> None:
    async for _ in signals:
        click.echo("\nStopping …")
        work.cancel()


async def _run_programs(base: trio.Nursery, settings: DemoSettings, listener: socket.socket, directory: Path) -> None:
    credentials = programs.Credentials("1", f"demo-{secrets.token_hex(6)}", secrets.token_hex(32))
    addresses = programs.choose_addresses(settings.host, settings.nodes)
    apps = programs.write_apps(directory, credentials)
    click.echo("Starting the Usher demo")
    nats_url = await programs.start_nats(base, directory)
    _say("nats-server", nats_url)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for address in addresses:
                starting.start_soon(_start_node, nursery, settings.host, address, nats_url, apps)
        page = _url(listener)
        await programs.start_backend(nursery, listener, _backend_settings(settings, credentials, addresses))
        _say("application backend", page)
        click.echo(f"\nOpen {page}\nStop with Ctrl-C\n")
        await trio.sleep_forever()


async def _start_node(nursery: trio.Nursery, host: str, address: NodeAddress, nats_url: str, apps: Path) -> None:
    await programs.start_node(nursery, host, address, nats_url, apps)
    _say(
        f"node {address.number}",
        f"ws://{host}:{address.port}  metrics: http://{programs.LOOPBACK}:{address.ops_port}/metrics",
    )


def _backend_settings(
    settings: DemoSettings, credentials: Credentials, addresses: tuple[NodeAddress, ...]
) -> dict[str, str]:
    """What the backend finds in its environment, as an application in production would."""
    return {
        "USHER_HOST": settings.host,
        "USHER_PORT": str(addresses[-1].port),
        "USHER_APP_ID": credentials.app_id,
        "USHER_APP_KEY": credentials.key,
        "USHER_APP_SECRET": credentials.secret,
        "DEMO_NODE_PORTS": json.dumps([address.port for address in addresses]),
        "DEMO_PUSHER_JS_URL": PUSHER_JS_URL,
        "DEMO_PUSHER_JS_PATH": str(settings.pusher_js or ""),
    }


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        is_errno = error.errno is not None and error.errno > 0  # below: a name that could not be resolved
        reason = os.strerror(error.errno or 0) if is_errno else error.strerror
        raise DemoError(
            f"The page cannot be served on {host}:{port}: {reason}. Choose another port with --port; 0 takes a free one."
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}/"


def _say(name: str, what: str) -> None:
    click.echo(f"  {name:<20} {what}")


def _leaves(group: BaseExceptionGroup[DemoError]) -> Iterator[DemoError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
