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

    def stop(self) -> None:
        """Stop it, if it was started here."""
        if self.program is not None:
            self.program.stop()


@dataclass(slots=True)
class Running:
    """Nodes that run, for one app. Leaving the context stops them, and undoes what else is on `exit`."""

    app: App
    nodes: list[Node] = field(default_factory=list)
    bus: Program | None = None
    bus_url: str = ""
    exit: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.program is not None:
                node.program.begin_stop()
        self.exit.close()

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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is started: which of how many, its files, and the URL of NATS (empty for a node alone)."""

    number: int
    nodes: int
    directory: Path
    nats: str


class _Started:
    """A server that is started here. Subclasses say how one node is."""

    def why_not(self, nodes: int) -> str:
        """See `Server`."""
        return "there is no nats-server: pip install 'usher-realtime[bench]'" if nodes > 1 and not nats_server() else ""

    def start(self, nodes: int) -> Running:
        """See `Server`. What was started before an error is stopped."""
        running = Running(APP)
        with ExitStack() as undo:
            undo.push(running.__exit__)
            directory = Path(running.exit.enter_context(TemporaryDirectory(prefix="usher-bench-")))
            running.bus_url = nats = _start_bus(running, directory) if nodes > 1 else ""
            for number in range(nodes):
                node = self._start_node(_Place(number, nodes, directory, nats))
                running.nodes.append(node)
                running.exit.callback(node.stop)
            for program in running.programs:
                program.wait_ready()
            undo.pop_all()
        return running

    def _start_node(self, place: _Place) -> Node:
        raise NotImplementedError


class Usher(_Started):
    """This project's own nodes."""

    name = "usher"

    def version(self) -> str:
        """See `Server`."""
        return f"{importlib.metadata.version('usher-realtime')}, Python {sys.version.split()[0]}"

    def _start_node(self, place: _Place) -> Node:
        port, ops_port = free_ports(2)
        apps = place.directory / "apps.toml"
        apps.write_text(f'[[apps]]\nid = "{APP.id}"\nkey = "{APP.key}"\nsecret = "{APP.secret}"\n')
        command = [sys.executable, "-m", "node", "serve", "--apps", str(apps), "--host", LOOPBACK, "--port", str(port)]
        command += ["--ops-host", LOOPBACK, "--ops-port", str(ops_port)]
        env = inherited_environment("USHER_") | ({"USHER_NATS__SERVERS": place.nats} if place.nats else {})
        env |= {
            "USHER_LIMITS__MESSAGES_PER_SECOND": "1000000"
        }  # clients here do the work of many; it is counted all the same
        env |= {"USHER_DRAIN__DELAY": "0", "USHER_DRAIN__SPREAD": "0", "USHER_PRESENCE__DRAIN_LINGER": "0"}
        ops_url = f"http://{LOOPBACK}:{ops_port}"
        program = Program(command, f"{ops_url}/readyz", place.directory / f"usher-{place.number}.log", env, _ROOT)
        return Node(Address(LOOPBACK, port), program, ops_url)


class Soketi(_Started):
    """soketi from npm (AGPL): run for comparison, and nothing else."""

    name = "soketi"

    def why_not(self, nodes: int) -> str:
        """See `Server`."""
        if shutil.which("node") is None:
            return "there is no node on the PATH"
        if not _SOKETI.is_dir():
            return "it is not installed: run `npm ci --ignore-scripts` in benchmarks/soketi"
        return super().why_not(nodes)

    def version(self) -> str:
        """See `Server`."""
        return str(json.loads((_SOKETI / "package.json").read_text())["version"])

    def _start_node(self, place: _Place) -> Node:
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
        if place.nats:
            env["SOKETI_ADAPTER_DRIVER"] = "nats"
            env["SOKETI_ADAPTER_NATS_SERVERS"] = place.nats.removeprefix("nats://")
            env["SOKETI_ADAPTER_NATS_NODES_NUMBER"] = str(place.nodes)
        command = ["node", str(_SOKETI / "bin" / "server.js"), "start"]
        log = place.directory / f"soketi-{place.number}.log"
        program = Program(command, f"http://{LOOPBACK}:{port}/ready", log, env, place.directory)
        return Node(Address(LOOPBACK, port), program)


class Installed:
    """Nodes, or a balancer before them, that run already. Their CPU and memory are not seen from here."""

    name = "installed"

    def __init__(self, app: App, addresses: Sequence[Address]) -> None:
        self._app = app
        self._addresses = addresses

    def why_not(self, nodes: int) -> str:
        """See `Server`."""
        return f"it takes {nodes} addresses" if nodes > len(self._addresses) else ""

    def version(self) -> str:
        """See `Server`."""
        return ", ".join(f"{address.host}:{address.port}" for address in self._addresses)

    def start(self, nodes: int) -> Running:
        """See `Server`."""
        return Running(self._app, [Node(address) for address in self._addresses[:nodes]])


def nats_server() -> str:
    """The nats-server: beside this Python, where its wheel puts it, or on the PATH; empty if there is none."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server") or ""


def _start_bus(running: Running, directory: Path) -> str:
    """Start a nats-server; its URL."""
    port, monitor_port = free_ports(2)
    command = [nats_server(), "--addr", LOOPBACK, "--port", str(port), "--http_port", str(monitor_port)]
    ready_url = f"http://{LOOPBACK}:{monitor_port}/healthz"
    running.bus = Program(command, ready_url, directory / "nats-server.log", inherited_environment(), directory)
    running.exit.callback(running.bus.stop)
    running.bus.wait_ready()
    return f"nats://{LOOPBACK}:{port}"
