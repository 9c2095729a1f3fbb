"""Real processes for tests: nats-servers and nodes, on free ports of this machine, ready when a test gets them.

    with Processes(tmp_path, APPS) as processes:
        nats = processes.start_nats()
        first, second = processes.start_nodes(2, nats)
        ...

Rules for whoever edits or uses this file:

- Starting returns at once and waiting is a method of its own, so that several start together and a Trio test can wait
  in a thread: `await trio.to_thread.run_sync(node.wait_ready)`. Start in the main thread only: Linux sends a child the
  parent-death signal when the *thread* that started it ends.
- Everything a program writes goes to a file, so that none ever blocks on a full pipe. `Log.problems` reads it: a node
  that logged an error or a traceback fails the test that `no_problems` surrounds.
- Processes are stopped by their ids, and none outlives the `with`.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from node.demo.children import _die_with_parent

LOOPBACK = "127.0.0.1"
START_TIMEOUT = 30.0
"""Seconds until a program must be ready; generous, since the machine may be busy."""
STOP_TIMEOUT = 20.0
"""Seconds until a program must have stopped by itself; `usher grace` says 16 for the settings below."""
QUICK_STOP = {"USHER_DRAIN__DELAY": "0", "USHER_DRAIN__SPREAD": "0", "USHER_PRESENCE__DRAIN_LINGER": "1"}
"""What nodes get unless a test says otherwise: most tests end with a stop, and few are about it."""

_POLL_INTERVAL = 0.02
_PORTS = (10_000, 32_768)  # Linux gives those from 32,768 on to whoever connects


def free_ports(count: int) -> list[int]:
    """Ports that are free now. All are held while choosing, so they differ.

    They are none that the kernel gives to outgoing connections, of which a busy machine makes thousands a minute: one of
    those could take a port between its choice and its use.
    """
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            port = secrets.randbelow(_PORTS[1] - _PORTS[0]) + _PORTS[0]
            with suppress(OSError):
                held.enter_context(socket.create_server((LOOPBACK, port)))
                ports.append(port)
    return ports


def nats_server_path() -> str:
    """The nats-server: beside this Python, where its wheel puts it, or on the PATH."""
    beside = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("nats-server")
    assert found is not None, "there is no nats-server: pip install -e '.[test]'"
    return found


def wait_until(is_true: Callable[[], bool], what: str, timeout: float = START_TIMEOUT) -> None:
    """Poll until true; AssertionError after `timeout` seconds. Blocks: a Trio test calls it in a thread."""
    deadline = time.monotonic() + timeout
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(_POLL_INTERVAL)


def answers_200(url: str) -> bool:
    """Whether an HTTP server answers GET with 200 at once."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:  # URLError and HTTPError are ones
        return False


class Log:
    """What a program wrote to stdout and stderr, in a file that only grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    @property
    def size(self) -> int:
        """Bytes until now; what is read from here on is new."""
        return self.path.stat().st_size

    def read(self, since: int = 0) -> str:
        """The text from that byte on."""
        return self.path.read_bytes()[since:].decode(errors="replace")

    def problems(self, since: int = 0) -> list[str]:
        """Lines that a healthy node never writes, whatever its clients do: tracebacks and errors."""
        return [line for line in self.read(since).splitlines() if _is_problem(line)]


def _is_problem(line: str) -> bool:
    if "Traceback (most recent call last)" in line:
        return True
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("level") in ("error", "critical", "exception")


class Program:
    """A program that can be started again with the same command: same ports, same files."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = Log(directory / f"{name}.log")
        self._command = command
        self._directory = directory
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("USHER_")} | dict(env or {})
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return at once; `wait_ready` waits. It must not be running."""
        assert not self.is_running, f"{self.name} runs already"
        with self.log.path.open("ab") as output:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._env,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - it makes two system calls, no more
            )

    @property
    def is_running(self) -> bool:
        """Whether the process is there (paused is there)."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the newest start."""
        assert self._popen is not None
        return self._popen.pid

    def is_ready(self) -> bool:
        """Whether it answers as a ready one does."""
        raise NotImplementedError

    def wait_ready(self) -> None:
        """Wait until it is ready; AssertionError with its last words if it ends instead or takes too long."""

        def ready_or_dead() -> bool:
            return self.is_ready() or not self.is_running

        wait_until(ready_or_dead, f"{self.name} is ready")
        assert self.is_running, f"{self.name} ended by itself:\n{self.log.read()[-2000:]}"

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and return at once; SIGSTOP and SIGCONT pause and resume it."""
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def wait_stopped(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until it has ended; its exit status. TimeoutExpired after `timeout` seconds."""
        assert self._popen is not None
        return self._popen.wait(timeout)

    def stop(self) -> int:
        """SIGTERM, and wait until it has ended; its exit status. Idempotent. A program that takes too long is killed."""
        if self._popen is None:
            return 0
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGCONT)
            self._popen.terminate()
        try:
            return self._popen.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {STOP_TIMEOUT:.0f} s of SIGTERM") from None


class NatsServer(Program):
    """A nats-server. `url` is for nodes, `routes_url` for other servers, `monitor_url` answers /varz, /routez and such."""

    def __init__(self, name: str, directory: Path, routes: Sequence[str] = (), arguments: Sequence[str] = ()) -> None:
        self.port, self.routes_port, monitor_port = free_ports(3)
        self.url = f"nats://{LOOPBACK}:{self.port}"
        self.routes_url = f"nats://{LOOPBACK}:{self.routes_port}"
        self.monitor_url = f"http://{LOOPBACK}:{monitor_port}"
        command = (
            *(nats_server_path(), "--name", name, "--addr", LOOPBACK, "--port", str(self.port)),
            *("--http_port", str(monitor_port), "--cluster_name", "tests", "--cluster", self.routes_url),
            *(("--routes", ",".join(routes)) if routes else ()),
            *arguments,
        )
        super().__init__(name, command, directory)

    def is_ready(self) -> bool:
        """Whether it takes clients."""
        return answers_200(f"{self.monitor_url}/healthz")

    def peers(self) -> int:
        """How many other servers it has routes to (several routes each are usual)."""
        with urllib.request.urlopen(f"{self.monitor_url}/routez", timeout=5) as response:
            routes = json.load(response)["routes"]
        return len({route["remote_id"] for route in routes})


class Node(Program):
    """`usher serve`. `port` takes WebSockets and API requests, `ops_port` answers operators."""

    def __init__(self, name: str, directory: Path, apps: Path, nats: Sequence[str], env: Mapping[str, str]) -> None:
        self.port, self.ops_port = free_ports(2)
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.ops_url = f"http://{LOOPBACK}:{self.ops_port}"
        command = (
            *(sys.executable, "-m", "node", "serve", "--name", name, "--apps", str(apps)),
            *("--host", LOOPBACK, "--port", str(self.port), "--ops-host", LOOPBACK, "--ops-port", str(self.ops_port)),
            *(("--nats", ",".join(nats)) if nats else ()),
        )
        super().__init__(name, command, directory, env)

    def is_ready(self) -> bool:
        """Whether it says that clients may be sent here."""
        return answers_200(f"{self.ops_url}/readyz")

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics, by name with labels as exposed: `usher_connections{app="1001"}`."""
        with urllib.request.urlopen(f"{self.ops_url}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


class Processes:
    """Every program of a test, or of a module's tests; none outlives the `with`."""

    def __init__(self, directory: Path, apps: str, env: Mapping[str, str] | None = None) -> None:
        """`apps` is the text of apps.toml, `env` what all nodes get (`USHER_PRESENCE__LINGER`, say)."""
        self.programs: list[Program] = []
        self.apps_path = directory / "apps.toml"
        self.apps_path.write_text(apps)
        self.directory = directory
        self.env = QUICK_STOP | dict(env or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for program in self.programs:  # together, since a node takes its linger to leave
            if isinstance(program, Node) and program.is_running:
                program.send_signal(signal.SIGCONT)
                program.send_signal(signal.SIGTERM)
        with ExitStack() as stack:
            for program in self.programs:
                stack.callback(program.stop)

    @property
    def nodes(self) -> list[Node]:
        """The nodes, in the order of their first start."""
        return [program for program in self.programs if isinstance(program, Node)]

    def start_nats(self) -> NatsServer:
        """Start one nats-server, and wait until it is ready."""
        return self.start_nats_cluster(1)[0]

    def start_nats_cluster(self, count: int) -> list[NatsServer]:
        """Start nats-servers with routes between all of them, and wait until every route is there."""
        servers: list[NatsServer] = []
        for _ in range(count):
            name = f"nats-{len(self.programs)}"
            servers.append(NatsServer(name, self.directory, [server.routes_url for server in servers]))
            self.start(servers[-1])
        for server in servers:
            server.wait_ready()
        wait_until(lambda: all(server.peers() == count - 1 for server in servers), "every NATS server knows all others")
        return servers

    def start_nodes(
        self, count: int, *nats: NatsServer, env: Mapping[str, str] | None = None, wait: bool = True
    ) -> list[Node]:
        """Start nodes that each know these NATS servers (without any: that are alone), and wait until they are ready."""
        urls = [server.url for server in nats]
        first = len(self.nodes) + 1
        nodes = [
            Node(f"node-{number}", self.directory, self.apps_path, urls, self.env | dict(env or {}))
            for number in range(first, first + count)
        ]
        for node in nodes:
            self.start(node)
        for node in nodes if wait else ():
            node.wait_ready()
        return nodes

    @contextmanager
    def no_problems(self) -> Iterator[None]:
        """Fail if a node logs an error or a traceback in here."""
        before = {node.name: node.log.size for node in self.nodes}
        yield
        found = {node.name: node.log.problems(before.get(node.name, 0)) for node in self.nodes}
        assert {name: lines for name, lines in found.items() if lines} == {}

    def start(self, program: Program) -> None:
        """Start a program that a test has made itself, and return at once; it is stopped like all others."""
        self.programs.append(program)
        program.start()
