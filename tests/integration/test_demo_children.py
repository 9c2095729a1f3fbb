"""Child processes of the demo: they end with it, by every way that it can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from node.demo import children
from node.demo.children import Child, ChildEndedError, DemoError, run_child

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
PARENT = """
import sys, time
from node.demo.children import Child
child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    """Whether the process `pid` is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_child_that_ends_by_itself_is_an_error_when_run() -> None:
    """The error names the child, its status and what it said last."""
    child = Child("node 2", [sys.executable, "-c", "print('no such file'); raise SystemExit(3)"])
    with pytest.raises(ChildEndedError, match=r"node 2 ended by itself with status 3\.(?s:.*)no such file"):
        await run_child(child)


async def test_child_keeps_only_its_last_lines_when_it_talks_much() -> None:
    """What a child writes is read to the end, and bounded."""
    child = Child("talker", [sys.executable, "-c", "for n in range(100_000): print('line', n)"])
    with pytest.raises(ChildEndedError):
        await run_child(child)
    assert list(child.last_lines)[-1] == "line 99999"
    assert len(child.last_lines) == children.KEPT_LINES


async def test_child_is_stopped_when_its_task_is_cancelled() -> None:
    """Cancelling is how the demo ends; the process is gone when the task is."""
    child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_child, child)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not is_running(child.pid)


async def test_child_is_killed_when_it_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores SIGTERM has a bounded time."""
    monkeypatch.setattr(children, "STOP_TIMEOUT", 0.2)
    child = Child("stubborn", [sys.executable, "-c", STUBBORN])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_child, child)
        with trio.fail_after(20):
            while "ready" not in child.last_lines:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert not is_running(child.pid)


def test_child_dies_when_its_parent_is_killed() -> None:
    """SIGKILL leaves the parent no time for anything: the kernel ends the children."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def test_child_cannot_be_started_when_there_is_no_such_program() -> None:
    """The error says which."""
    with pytest.raises(DemoError, match="nats-server could not be started"):
        Child("nats-server", ["/nowhere/nats-server"])
