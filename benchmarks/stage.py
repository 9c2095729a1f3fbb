"""What a scenario works with: nodes that run, a fleet of clients, and the means to measure.

    with Stage(server, nodes, options) as stage:
        with stage.measure() as cost:
            stage.fleet.connect(stage.nodes[0].address, 2000)
        yield stage.rate("connect", 2000, cost)

Figures are per CPU-second of the nodes. Where their CPU time is not seen (an installed cluster), they are per second.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Self

from benchmarks.callers import Callers
from benchmarks.figures import Better, Figure
from benchmarks.profiles import Profiler
from benchmarks.servers import Node, Running, Server
from benchmarks.workers import Fleet, Worker


@dataclass(frozen=True, slots=True)
class Options:
    """What was chosen on the command line. `scale` multiplies numbers of connections and of operations."""

    workers: int = 2
    scale: float = 1.0
    profile: str = ""


@dataclass(slots=True)
class Cost:
    """What a measured section took: seconds of CPU of each node, of them in the kernel, of the bus, and by the clock."""

    nodes: list[float] = field(default_factory=list)
    kernel: float = 0.0
    bus: float = 0.0
    wall: float = 0.0

    @property
    def cpu(self) -> float:
        """Of all nodes together; 0 if it is not seen."""
        return sum(self.nodes)

    def add(self, other: "Cost") -> None:
        """Count another section of the same nodes in."""
        earlier = self.nodes or [0.0] * len(other.nodes)
        self.nodes = [mine + more for mine, more in zip(earlier, other.nodes, strict=True)]
        self.kernel += other.kernel
        self.bus += other.bus
        self.wall += other.wall


class Stage:
    """Fresh nodes and fresh clients for one scenario. A context manager."""

    def __init__(self, server: Server, nodes: int, options: Options, say: Callable[[str], None]) -> None:
        self.server = server
        self.options = options
        self.say = say
        self._count = nodes
        self._exit = ExitStack()
        self.running: Running
        self.fleet: Fleet

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.running = stack.enter_context(self.server.start(self._count))
            self.fleet = Fleet(self.running.app, self.options.workers)
            stack.callback(self.fleet.close)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def nodes(self) -> list[Node]:
        """The nodes, first to last."""
        return self.running.nodes

    def shrink(self, size: int) -> None:
        """Stop all nodes but the first ones."""
        for node in self.running.nodes[size:]:
            node.stop()
        del self.running.nodes[size:]

    def scaled(self, count: int) -> int:
        """A number of connections or operations, as the options want it."""
        return max(1, int(count * self.options.scale))

    def callers(self) -> Worker:
        """A process with callers of the HTTP API; it ends with the stage."""
        worker = Worker(Callers, self.running.app)
        self._exit.callback(worker.close)
        return worker

    # -- measuring ------------------------------------------------------------------------------------------------

    @contextmanager
    def measure(self, what: str) -> Iterator[Cost]:
        """Measure what happens in here; the cost is known afterwards."""
        self.say(what)
        cost, programs, bus = Cost(), self.running.programs, self.running.bus
        with self._profiled(what):
            kernel_before = sum(program.kernel_cpu() for program in programs)
            before, bus_before, start = [p.cpu() for p in programs], bus.cpu() if bus else 0.0, time.monotonic()
            yield cost
            cost.wall = time.monotonic() - start
            cost.nodes = [program.cpu() - then for program, then in zip(programs, before, strict=True)]
            cost.kernel = sum(program.kernel_cpu() for program in programs) - kernel_before
            cost.bus = (bus.cpu() if bus else 0.0) - bus_before

    @contextmanager
    def _profiled(self, what: str) -> Iterator[None]:
        if not self.options.profile or self.server.name != "usher":
            yield
            return
        with Profiler(self.options.profile, what, [program.pid for program in self.running.programs]):
            yield

    def memory(self) -> int:
        """Bytes that the nodes hold together."""
        return sum(program.memory() for program in self.running.programs)

    def rate(self, line: str, operations: int, cost: Cost) -> Figure:
        """Operations per CPU-second of the nodes."""
        unit = "per CPU-second" if cost.cpu else "per second"
        detail = {"operations": operations, "cpu": cost.cpu, "kernel": cost.kernel, "wall": cost.wall, "bus_cpu": cost.bus}
        detail |= {f"cpu_node_{number}": cpu for number, cpu in enumerate(cost.nodes)}
        return Figure(line, operations / (cost.cpu or cost.wall), unit, Better.HIGHER, detail)
