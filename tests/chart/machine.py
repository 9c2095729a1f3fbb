"""A cluster of one machine for a rendered release: its controllers, its Service, and the names of its pods.

    async with running_release(tmp_path, render(values)) as machine:
        await machine.nodes.scale(3)
        client = await connect(nursery, APP, machine.port)

Pods are started, replaced and ended in the order and with the waits that the Deployment and the StatefulSet state. The
Service sends each new connection to a pod that is ready and not leaving, at random, as kube-proxy does.
"""

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import trio

from tests.chart.helm import Object, Rendering
from tests.chart.pods import Departure, Identity, Pod, addresses

_CHUNK = 65536


class Machine:
    """The machine, with everything of the release."""

    def __init__(self, directory: Path, release: Rendering, nursery: trio.Nursery) -> None:
        self.release = release
        self.directory = directory
        self.hosts = directory / "hosts"
        self.pods: list[Pod] = []
        self.departures: dict[str, Departure] = {}
        self.port = 0
        self._addresses = addresses()
        self._names: dict[str, str] = {}
        self._nursery = nursery
        self.nodes = Nodes(self)
        self.nats = Servers(self)

    @property
    def running(self) -> list[Pod]:
        """Pods that are not leaving."""
        return [pod for pod in self.pods if not pod.terminating]

    def start(self, name: str, template: Object, dns: str = "") -> Pod:
        """Start a pod of this template under this name, and in DNS under that one, and return at once."""
        address = next(self._addresses)
        if dns:
            self.name(dns, address)
        pod = Pod(self.release, template, Identity(name, address, self.directory, self.hosts))
        self.pods.append(pod)
        self._nursery.start_soon(pod.run)
        return pod

    def name(self, dns: str, address: str) -> None:
        """Give an address a name that every pod knows, also those that run: the file stays the same one."""
        self._names[dns] = address
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._names.items())]
        self.hosts.write_text("\n".join(lines) + "\n")

    async def delete(self, pod: Pod) -> None:
        """Delete a pod, and wait until it is gone."""
        self.departures[pod.name] = await pod.delete()

    def delete_soon(self, pod: Pod) -> None:
        """Delete a pod, and return at once."""
        pod.terminating = True
        self._nursery.start_soon(self.delete, pod)

    def apply(self, release: Rendering) -> None:
        """Have these objects instead: files of pods follow, pods themselves when they are rolled."""
        self.release = release
        for pod in self.running:
            pod.refresh(release)

    async def serve(self) -> None:
        """Be the Service, at its own address and on a port of 127.0.0.1 for clients of the tests."""
        service = self.release.one("Service", "-usher")
        address, (port,) = next(self._addresses), service["spec"]["ports"]
        self.name(f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc", address)
        inside = await trio.open_tcp_listeners(port["port"], host=address)
        outside = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = outside[0].socket.getsockname()[1]
        self._nursery.start_soon(trio.serve_listeners, self._forward, [*inside, *outside])

    async def _forward(self, stream: trio.SocketStream) -> None:
        ready = [pod for pod in self.nodes.pods if pod.ready]
        if not ready:
            return
        pod = random.choice(ready)
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with await trio.open_tcp_stream(pod.address, pod.port("clients")) as other, trio.open_nursery() as nursery:
                nursery.start_soon(_pump, stream, other, nursery.cancel_scope)
                nursery.start_soon(_pump, other, stream, nursery.cancel_scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(_CHUNK):
            await sink.send_all(data)
    both.cancel()


class Nodes:
    """The Deployment's controller."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._numbers = count(1)

    @property
    def pods(self) -> list[Pod]:
        """Its pods that are not leaving."""
        return [pod for pod in self._machine.running if "nats" not in pod.name]

    def start(self) -> Pod:
        """Start one more, named as a ReplicaSet's pods are: what selects pods by their names relies on that."""
        deployment = self._machine.release.one("Deployment")
        template = deployment["spec"]["template"]
        revision = hashlib.sha256(repr(template).encode()).hexdigest()[:10]
        return self._machine.start(f"{deployment['metadata']['name']}-{revision}-{next(self._numbers)}", template)

    async def scale(self, wanted: int) -> None:
        """Start or delete until there are so many; new ones are waited for, old ones are not."""
        new = [self.start() for _ in range(wanted - len(self.pods))]
        for pod in self.pods[wanted:]:
            self._machine.delete_soon(pod)
        for pod in new:
            await pod.until_ready()

    async def roll(self) -> None:
        """Replace every pod as the strategy says: a new one is ready for a while before an old one is deleted."""
        node = self._machine.release.node
        assert node["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        for old in self.pods:
            await self.start().until_ready()
            await trio.sleep(node["minReadySeconds"])
            self._machine.delete_soon(old)


class Servers:
    """The controller of NATS' StatefulSet."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def pods(self) -> list[Pod]:
        """Its pods that are not leaving."""
        return [pod for pod in self._machine.running if "nats" in pod.name]

    def start(self, number: int) -> Pod:
        """Start the pod of this number, at a new address under its old name."""
        stateful = self._machine.release.one("StatefulSet")
        name, spec = f"{stateful['metadata']['name']}-{number}", stateful["spec"]
        dns = f"{name}.{spec['serviceName']}.{stateful['metadata']['namespace']}.svc"
        return self._machine.start(name, spec["template"], dns)

    def start_all(self) -> None:
        """Start all at once, as its policy says."""
        spec = self._machine.release.one("StatefulSet")["spec"]
        assert spec["podManagementPolicy"] == "Parallel"
        for number in range(spec["replicas"]):
            self.start(number)

    async def replace(self, number: int) -> Departure:
        """Delete the pod of this number, and when it is gone have another in its place."""
        old = self.pods[number]
        await self._machine.delete(old)
        await self.start(number).until_ready()
        return self._machine.departures[old.name]


@asynccontextmanager
async def running_release(directory: Path, release: Rendering) -> AsyncIterator[Machine]:
    """A release with its NATS servers and as many nodes as it states, all ready; at the end all are killed."""
    async with trio.open_nursery() as nursery:
        machine = Machine(directory, release, nursery)
        try:
            await machine.serve()
            machine.nats.start_all()
            for _ in range(release.node["replicas"]):
                machine.nodes.start()
            for pod in machine.pods:
                await pod.until_ready()
            yield machine
        finally:
            for pod in machine.pods:
                pod.process.kill()
            nursery.cancel_scope.cancel()
