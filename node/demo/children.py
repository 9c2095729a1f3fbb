"""Child processes that never outlive the demo.

Every child has one task, which runs until it is cancelled (the child is then stopped) or until the child ends by
itself (which is an error). Rules for whoever edits this file:

- Children are started in the main thread. Linux sends the parent-death signal when the *thread* that started a
  child ends; `trio.run_process` starts its children in worker threads, and those end when they have been idle.
- Each has a session of its own: the terminal's Ctrl-C reaches the demo alone, which stops its children in order.
- Their output is always read, so that none ever blocks on it; the last lines are kept.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STOP_TIMEOUT = 5.0
"""Seconds that a child has for stopping by itself once it was asked to."""

KEPT_LINES = 20
"""Lines of a child's output that are kept for the case that it ends by itself."""

_PR_SET_PDEATHSIG = 1


class DemoError(Exception):
    """The demo cannot go on; the text says why, and is all that its user sees."""


class ChildEndedError(DemoError):
    """A child that should have run until the end of the demo ended by itself."""

    def __init__(self, child: Child, status: int) -> None:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        said = "".join(f"\n    {line}" for line in child.last_lines)
        super().__init__(f"{child.name} ended by itself with {how}." + (f" Its last words:{said}" if said else ""))


class Child:
    """A running process. Whoever starts one must `stop` it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start `command`; `env` adds to the environment. Raises DemoError if it cannot be executed."""
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            self._popen: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - the demo's own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**_clean_environment(), **(env or {})},
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - no other thread runs yet
            )
        except OSError as error:
            raise DemoError(f"{name} could not be started: {error}") from error
        assert self._popen.stdout is not None  # noqa: S101 - PIPE
        self._output = trio.lowlevel.FdStream(os.dup(self._popen.stdout.fileno()))
        self._popen.stdout.close()

    @property
    def pid(self) -> int:
        """The process id, also after the process has ended."""
        return self._popen.pid

    async def wait(self) -> int:
        """Read the output until the child closes it, as it does by ending; return its exit status."""
        await self._read_output()
        return await trio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True)

    async def stop(self) -> None:
        """Ask the child to stop; kill it if that takes longer than `STOP_TIMEOUT`. Not cancellable; call once."""
        with trio.CancelScope(shield=True):
            self._popen.terminate()
            with trio.move_on_after(STOP_TIMEOUT):
                await self._read_output()
            self._popen.kill()
            await self._output.aclose()
        self._popen.wait()

    async def _read_output(self) -> None:
        rest = b""
        async for chunk in self._output:
            *lines, rest = (rest + chunk)[-65536:].split(b"\n")
            self.last_lines.extend(line.decode(errors="replace") for line in lines)


async def run_child(child: Child) -> None:
    """Be the task of `child`: raises ChildEndedError when it ends by itself, stops it when cancelled."""
    try:
        status = await child.wait()
    finally:
        await child.stop()
    raise ChildEndedError(child, status)


def _clean_environment() -> dict[str, str]:
    """Return the environment without settings for a node of the user's own: they are not meant for the demo."""
    return {name: value for name, value in os.environ.items() if not name.startswith("USHER_")}


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what a new child calls before it becomes its program: die when the process `parent` does."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return prepare
