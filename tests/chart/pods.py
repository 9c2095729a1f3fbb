"""Rendered pods as real processes, treated as a kubelet treats them: variables, files, probes, preStop, grace.

What is not as in a cluster: all pods share the machine's network, so each listens on a loopback address of its own instead
of on 0.0.0.0; users, limits and capabilities are the machine's. The image's test is elsewhere.
"""

import base64
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.chart.helm import Object, Rendering
from tests.chart.volumes import Volumes, listening_on
from tests.processes import Program, nats_server_path

_LOOK = 0.02
_LONGEST_WAIT = 5


@dataclass(frozen=True, slots=True)
class Departure:
    """How a pod that was deleted went: its process' status, and the seconds since it was deleted."""

    status: int
    seconds: float
    killed: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a pod from others: its name and its address; `hosts` is the file that names the others."""

    name: str
    address: str
    directory: Path
    hosts: Path


class Pod:
    """One pod with one container, made from a template. `run` is its task; `delete` ends it."""

    def __init__(self, release: Rendering, template: Object, identity: Identity) -> None:
        spec = template["spec"]
        self.name = name = identity.name
        self.address = identity.address
        self.labels: dict[str, str] = template["metadata"]["labels"]
        self.ready = False
        self.terminating = False
        self.restarts = 0
        self.departure: Departure | None = None
        self.grace: int = spec["terminationGracePeriodSeconds"]
        self.container: Object = spec["containers"][0]
        self._volumes = Volumes(identity.directory / f"{name}-{self.address}", spec, listening_on(self.address))
        self._volumes.write(release)
        self._gone = trio.Event()
        self._env = _variables(release, self.container, name, self.address)
        command = _command(self.container.get("command", []), self.container.get("args", []))
        wrapped = self._volumes.wrap(command, self.container["volumeMounts"], identity.hosts)
        self.process = Program(name, wrapped, identity.directory, self._env)

    def port(self, name: str) -> int:
        """The number of a port."""
        return int(next(port["containerPort"] for port in self.container["ports"] if port["name"] == name))

    def refresh(self, release: Rendering) -> None:
        """Write its files anew, as the kubelet does within a minute or so of a change."""
        self._volumes.write(release)

    async def run(self) -> None:
        """Run the container, and again whenever it ends by itself, until the pod is deleted."""
        while not self.terminating:
            self.process.start()
            async with trio.open_nursery() as probes:
                probes.start_soon(self._probe_all)
                while self.process.is_running:
                    await trio.sleep(_LOOK)
                probes.cancel_scope.cancel()
            self.ready = False
            if not self.terminating:
                await trio.sleep(min(self.restarts, _LONGEST_WAIT))  # at once, then later and later
                self.restarts += 1
        self._gone.set()

    async def delete(self) -> Departure:
        """preStop, SIGTERM, and SIGKILL when the grace is over."""
        begun = trio.current_time()
        self.terminating, self.ready = True, False
        with trio.move_on_after(self.grace) as grace:
            await self._pre_stop()
            self.process.send_signal(signal.SIGTERM)
            await self._gone.wait()
        if grace.cancelled_caught:
            self.process.send_signal(signal.SIGKILL)
            await self._gone.wait()
        self.departure = Departure(self.process.wait_stopped(), trio.current_time() - begun, grace.cancelled_caught)
        return self.departure

    def lose_machine(self) -> None:
        """SIGKILL, and no kubelet is left to start it again: until somebody deletes it, Kubernetes lists it."""
        self.terminating, self.ready = True, False
        self.process.kill()

    async def until_ready(self, patience: float = 30.0) -> None:
        """Return when its readiness probe has succeeded."""
        with trio.move_on_after(patience):
            while not self.ready:
                await trio.sleep(_LOOK)
            return
        raise AssertionError(f"{self.name} is not ready after {patience} s:\n{self.process.log.read()[-2000:]}")

    async def _pre_stop(self) -> None:
        match self.container.get("lifecycle", {}).get("preStop", {}):
            case {"sleep": {"seconds": seconds}}:
                await trio.sleep(seconds)
            case {"exec": {"command": [program, *arguments]}}:
                inside = ["nsenter", "--target", str(self.process.pid), "--mount", "--", *_command([program], arguments)]
                await trio.run_process(inside, env=os.environ | self._env, capture_stderr=True)

    # -- probes ---------------------------------------------------------------------------------------------------

    async def _probe_all(self) -> None:
        """First the one of the start, then liveness and readiness side by side."""
        await self._probe(self.container["startupProbe"], until_success=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe, self.container["livenessProbe"])
            nursery.start_soon(self._probe, self.container["readinessProbe"])

    async def _probe(self, probe: Object, *, until_success: bool = False) -> None:
        failures = 0
        is_readiness = probe is self.container["readinessProbe"]
        while True:
            succeeds = await self._succeeds(probe)
            failures = 0 if succeeds else failures + 1
            if succeeds and until_success:
                return
            if is_readiness and (succeeds or failures >= probe.get("failureThreshold", 3)):
                self.ready = succeeds and not self.terminating
            elif failures >= probe.get("failureThreshold", 3):
                self.process.send_signal(signal.SIGKILL)
            await trio.sleep(probe["periodSeconds"])

    async def _succeeds(self, probe: Object) -> bool:
        request = f"GET {probe['httpGet']['path']} HTTP/1.1\r\nHost: {self.address}\r\nConnection: close\r\n\r\n"
        try:
            with trio.move_on_after(probe["timeoutSeconds"]):
                async with await trio.open_tcp_stream(self.address, self.port(probe["httpGet"]["port"])) as stream:
                    await stream.send_all(request.encode())
                    status = (await stream.receive_some(64)).split(b" ")[1:2]
                    return status == [b"200"]
        except OSError:
            pass
        return False


def _command(command: list[str], arguments: list[str]) -> list[str]:
    """What a container runs, with this machine's programs in the place of the images'."""
    match command:
        case [] | ["usher"]:
            return [sys.executable, "-m", "node", *arguments]
        case ["nats-server", *more]:
            return [nats_server_path(), *more, *arguments]
    raise AssertionError(f"no image has {command}")


def _variables(release: Rendering, container: Object, name: str, address: str) -> dict[str, str]:
    """The container's variables, as the kubelet makes them."""
    variables: dict[str, str] = {}
    for item in container.get("env", []):
        match item:
            case {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}:
                variables[variable] = name
            case {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}:
                variables[variable] = base64.b64decode(release.one("Secret", secret)["data"][key]).decode()
            case {"name": variable, "value": "0.0.0.0"}:  # noqa: S104 - see the module
                variables[variable] = address
            case {"name": variable, "value": value}:
                variables[variable] = re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], value)
    return variables


def run_once(release: Rendering, spec: Object, directory: Path, hosts: Path) -> subprocess.CompletedProcess[str]:
    """Run a pod that ends by itself, such as that of `helm test`; its output and status. Blocks."""
    (container,) = spec["containers"]
    volumes = Volumes(Path(tempfile.mkdtemp(dir=directory)), spec, lambda _, content: content)
    volumes.write(release)
    command = volumes.wrap(_command([], container["args"]), container["volumeMounts"], hosts)
    timeout = spec["activeDeadlineSeconds"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def addresses() -> Iterator[str]:
    """Loopback addresses that no other run of the tests uses meanwhile."""
    pid = os.getpid()
    for number in range(1, 255):
        yield f"127.{1 + pid % 250}.{pid // 250 % 250}.{number}"
