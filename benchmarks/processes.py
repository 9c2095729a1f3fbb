"""Programs that are measured: started, ready, stopped; and what they use of the machine.

CPU time is that of a whole process with all its threads, to the nanosecond, from the kernel's clock for the process;
memory is the proportional set size (what is shared is counted in parts). Only processes started here are signalled.
"""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 15.0
_CPUCLOCK_SCHED = 2  # of Linux: the clock that counts the running time of a process


def free_ports(count: int) -> list[int]:
    """Ports that are free now. All are held while choosing, so they differ."""
    with ExitStack() as held:
        return [held.enter_context(socket.create_server((LOOPBACK, 0))).getsockname()[1] for _ in range(count)]


class Program:
    """One process, from its start. It is ready when `ready_url` answers 200. `stop` it."""

    def __init__(self, command: Sequence[str], ready_url: str, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self._ready_url = ready_url
        self._log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd
            )
        self.pid = self._popen.pid

    def wait_ready(self) -> None:
        """Wait until it is ready. Raises RuntimeError with its last words if it ends, or takes a minute."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not answers(self._ready_url):
            if self._popen.poll() is not None or time.monotonic() > deadline:
                words = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self._log.stem} did not get ready:\n{words}")
            time.sleep(0.05)

    def cpu(self) -> float:
        """Seconds of CPU since its start."""
        return time.clock_gettime((~self.pid << 3) | _CPUCLOCK_SCHED)

    def kernel_cpu(self) -> float:
        """Of these, the seconds that the kernel took for it; counted in ticks of a hundredth."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[12]) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes of memory that it holds: its proportional set size."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    def begin_stop(self) -> None:
        """Tell it to stop, and return at once."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)

    def stop(self, timeout: float = _STOP_TIMEOUT) -> None:
        """Stop it; kill it if it takes too long. Idempotent."""
        self.begin_stop()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 - what the caller started or named
            return bool(response.status == 200)
    except OSError:  # URLError and HTTPError are ones
        return False


def inherited_environment(*without: str) -> dict[str, str]:
    """This process' environment but for variables with these prefixes, which would configure what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}
