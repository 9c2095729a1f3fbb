"""Where a scenario plays: three nats-servers with routes, nodes, a relay on every way between them, and a crowd.

Names of links: `route-1-0` between two nats-servers (the later one dials), `bus-2-0` from a node to a nats-server. Every
nats-server and node reaches the others through its links only.

Rules for whoever edits or uses this file: everything is started in the main thread and stopped with the `with`; whoever
breaks something says so with `excuse`, for as long as the promises make room for it, and mends it.
"""

import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import product
from json import dumps
from pathlib import Path
from subprocess import PIPE, Popen

import trio

from tests.faults.ledger import Excuse, Published
from tests.faults.oracle import Bounds, Case
from tests.faults.people import Crowd
from tests.integration.support import APP, APPS, ready
from tests.processes import LOOPBACK, NatsServer, Node, Processes, free_ports, wait_until

SERVERS = 3
NOWHERE = f"{LOOPBACK}:1"
"""What a nats-server advertises, so that others reach it by their own links only."""


class Relay:
    """The process that carries everything; see relay.py for what it can be told."""

    def __init__(self, places: Mapping[str, tuple[int, int]]) -> None:
        command = [sys.executable, "-m", "tests.faults.relay", dumps(places)]
        self._popen = Popen(command, stdin=PIPE, stdout=PIPE, text=True, start_new_session=True)
        self.names = list(places)
        self._hear()

    def tell(self, verb: str, name: str, seconds: float = 0.0) -> None:
        """Do this to a link; returns when it is done."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{verb} {name} {seconds}\n")
        self._popen.stdin.flush()
        self._hear()

    def stop(self) -> None:
        """Carry nothing any more."""
        self._popen.kill()
        self._popen.communicate()

    def _hear(self) -> None:
        assert self._popen.stdout is not None
        assert self._popen.stdout.readline().strip() in ("ready", "done"), "the relay has ended"


class Stage:
    """The system under fault, and the record of what was done to it."""

    def __init__(self, processes: Processes, relay: Relay, seed: int) -> None:
        self.processes = processes
        self.relay = relay
        self.random = random.Random(seed)
        self.servers: list[NatsServer] = [p for p in processes.programs if isinstance(p, NatsServer)]
        self.nodes: list[Node] = processes.nodes
        self.crowd = Crowd(APP, [node.port for node in self.nodes], self.random)
        self.published: list[Published] = []
        self.excuses: list[Excuse] = []
        self.closed: set[int] = set()
        """Nodes that take no requests, as a load balancer would know."""
        self.highest: dict[str, float] = {}
        """The highest value seen of what is watched."""
        self.figures: dict[str, object] = {}
        self.timeline: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self.start = trio.current_time()

    # -- the record -----------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Something was done."""
        self.timeline.append((trio.current_time() - self.start, text))

    def expect(self, is_so: object, text: str) -> None:
        """Note a failure unless it is so. The run goes on: one failure often explains another."""
        if not is_so:
            self.note(f"FAILED: {text}")
            self.failures.append(text)

    @asynccontextmanager
    async def excused(
        self, *nodes: int, why: str, settle: float = 0.0, events: bool = True, presence: bool = True
    ) -> AsyncIterator[None]:
        """What happens in here, and `settle` seconds longer, is held against nobody; of these nodes, or of all."""
        start = trio.current_time()
        try:
            yield
        finally:
            end = trio.current_time() + settle
            for node in nodes or (-1,):
                self.excuses.append(Excuse(node, start, end, why, events=events, presence=presence))

    def case(self, **bounds: float) -> Case:
        """Everything until now, for the oracle."""
        return Case(self.crowd.ledgers, self.published, self.excuses, Bounds(trio.current_time(), **bounds))

    # -- waiting --------------------------------------------------------------------------------------------------

    async def settled(self, within: float, *, but: Sequence[int] = ()) -> float:
        """Return how many seconds it took until all clients are there and every view equals the truth.

        Notes a failure after `within` seconds. Clients on the nodes in `but` are not asked.
        """
        start = trio.current_time()
        while left := list(self.crowd.disagreements(but)):
            if trio.current_time() - start > within:
                self.expect(False, f"not settled within {within} s: {len(left)} disagree: {left[:5]}")
                break
            await trio.sleep(0.05)
        return trio.current_time() - start

    async def eventually(self, is_so: Callable[[], object], what: str, within: float = 30.0) -> float:
        """Return how many seconds it took until it was so; notes a failure after `within` seconds."""
        start = trio.current_time()
        while not is_so():
            if trio.current_time() - start > within:
                self.expect(False, f"not within {within} s: {what}")
                break
            await trio.sleep(0.05)
        return trio.current_time() - start

    # -- metrics --------------------------------------------------------------------------------------------------

    def metric(self, node: int, name: str, **labels: str) -> float:
        """A metric of a node, without `usher_`, summed over all labels but these; 0 if it does not answer."""
        try:
            samples = self.nodes[node].metrics()
        except OSError:
            return 0.0
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for sample, value in samples.items()
            if sample.partition("{")[0] == f"usher_{name}" and all(label in sample for label in wanted)
        )

    def total(self, name: str, **labels: str) -> float:
        """The same, over all nodes that run."""
        return sum(self.metric(place, name, **labels) for place, node in enumerate(self.nodes) if node.is_running)

    def problems(self) -> list[str]:
        """What no node should ever log."""
        return [f"{node.name}: {line}" for node in self.nodes for line in node.log.problems()]

    # -- doing ----------------------------------------------------------------------------------------------------

    def signal(self, program: Node | NatsServer, number: signal.Signals) -> None:
        """Send a signal to a process."""
        self.note(f"{number.name} to {program.name}")
        program.send_signal(number)

    def kill(self, *programs: Node | NatsServer) -> None:
        """SIGKILL, all at once."""
        self.note(f"SIGKILL to {', '.join(program.name for program in programs)}")
        for program in programs:
            program.send_signal(signal.SIGKILL)
        for program in programs:
            program.wait_stopped()

    async def begin(self, *programs: Node | NatsServer) -> None:
        """Start what was stopped, and wait until it is ready."""
        for program in programs:
            program.start()
        await ready(*programs)
        self.note(f"{', '.join(program.name for program in programs)} started")

    async def stopped(self, program: Node | NatsServer, within: float) -> int:
        """The exit status of a program that was told to stop; a failure is noted if it takes longer."""
        waiting = partial(program.wait_stopped, within + 10)
        with trio.move_on_after(within):
            return await trio.to_thread.run_sync(waiting, abandon_on_cancel=True)
        self.expect(False, f"{program.name} has not stopped within {within} s")
        return -1

    def links(self, *, of_server: int | None = None, of_node: int | None = None) -> list[str]:
        """The links of a nats-server's routes, or of a node's bus."""
        if of_node is not None:
            return [name for name in self.relay.names if name.startswith(f"bus-{of_node}-")]
        names = (name for name in self.relay.names if name.startswith("route-"))
        return [name for name in names if str(of_server) in name.split("-")[1:]]

    def do(self, verb: str, links: Sequence[str], seconds: float = 0.0) -> None:
        """Tell the relay; see there for the verbs."""
        self.note(f"{verb} {' '.join(links)}")
        for name in links:
            self.relay.tell(verb, name, seconds)


@contextmanager
def set_stage(directory: Path, seed: int, nodes: int = 3, env: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Start everything, node i on nats-server i; after a fault they may be anywhere."""
    with Processes(directory, APPS, env) as processes:
        relay, servers, urls = _start_servers(processes, nodes)
        try:
            _start_nodes(processes, relay, urls)
            stage = Stage(processes, relay, seed)
            assert stage.servers == servers
            yield stage
            for node in stage.nodes:  # paused ones could not stop
                if node.is_running:
                    node.send_signal(signal.SIGCONT)
        finally:
            relay.stop()


def _start_nodes(processes: Processes, relay: Relay, urls: Sequence[Sequence[str]]) -> None:
    """Each finds its own nats-server only, until it is there."""
    ways = product(range(len(urls)), range(SERVERS))
    others = [f"bus-{node}-{server}" for node, server in ways if server != node % SERVERS]
    for link in others:
        relay.tell("cut", link)
    for place, own in enumerate(urls):
        processes.start(Node(f"node-{place}", processes.directory, processes.apps_path, own, processes.env))
    for node in processes.nodes:
        node.wait_ready()
    for link in others:
        relay.tell("heal", link)


def _start_servers(processes: Processes, nodes: int) -> tuple[Relay, list[NatsServer], list[list[str]]]:
    """The nats-servers, the relay between everybody, and each node's own URLs of the servers."""
    routes = [(later, earlier) for later, earlier in product(range(SERVERS), repeat=2) if later > earlier]
    ways = list(product(range(nodes), range(SERVERS)))
    ports = iter(free_ports(len(routes) + len(ways)))
    route_ports = {pair: next(ports) for pair in routes}
    bus_ports = {way: next(ports) for way in ways}
    servers = []
    for number in range(SERVERS):
        own = [f"nats://{LOOPBACK}:{port}" for (later, _), port in route_ports.items() if later == number]
        alone = ("--cluster_advertise", NOWHERE, "--no_advertise")
        servers.append(NatsServer(f"nats-{number}", processes.directory, own, alone))
    places = {
        f"route-{later}-{earlier}": (port, servers[earlier].routes_port) for (later, earlier), port in route_ports.items()
    }
    places |= {f"bus-{node}-{server}": (port, servers[server].port) for (node, server), port in bus_ports.items()}
    relay = Relay(places)
    try:
        for server in servers:
            processes.start(server)
        for server in servers:
            server.wait_ready()
        wait_until(lambda: all(server.peers() == SERVERS - 1 for server in servers), "every NATS server knows all others")
    except BaseException:
        relay.stop()
        raise
    urls = [[f"nats://{LOOPBACK}:{bus_ports[node, server]}" for server in range(SERVERS)] for node in range(nodes)]
    return relay, servers, urls
