"""`usher check`: what `helm test` runs, against real nodes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import APPS
from tests.processes import Node, Processes, free_ports


def run_check(url: str, apps: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = [sys.executable, "-m", "node", "check", "--url", url, "--apps", str(apps), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def node(processes: Processes) -> Node:
    """A node alone, behind a path prefix."""
    return processes.start_nodes(1, env={"USHER_PATH_PREFIX": "/realtime"})[0]


def test_check_exits_with_0_when_a_user_gets_its_event(node: Node, processes: Processes) -> None:
    """It says each step, and how long it took."""
    result = run_check(f"{node.url}/realtime", processes.apps_path)
    assert (result.returncode, result.stderr) == (0, "")
    steps = [line.partition(": done in ")[0] for line in result.stdout.splitlines()]
    assert steps == ["connecting", "signing in", "sending the user an event", "waiting for the event", "closing"]


def test_check_says_what_the_node_said_when_a_secret_is_wrong(node: Node, processes: Processes) -> None:
    """And never the secret."""
    wrong = processes.directory / "wrong.toml"
    wrong.write_text(APPS.replace("first-secret", "a-wrong-one"))
    result = run_check(f"{node.url}/realtime", wrong)
    assert result.returncode == 1
    assert "signing in: the node said" in result.stderr
    assert "a-wrong-one" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("path", ["", "/realtime"])
def test_check_exits_with_1_when_the_path_or_the_app_is_wrong(node: Node, processes: Processes, path: str) -> None:
    """Without a traceback, and without waiting for the timeout."""
    wrong = processes.directory / "wrong.toml"
    wrong.write_text(APPS.replace("first-key", "no-such-key"))
    result = run_check(f"{node.url}{path}", wrong)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


def test_check_exits_with_1_when_nobody_listens(processes: Processes) -> None:
    """As the hook of a release that never came up does."""
    result = run_check(f"http://127.0.0.1:{free_ports(1)[0]}", processes.apps_path)
    assert result.returncode == 1
    assert result.stderr.startswith("usher: connecting: ")
    assert "Traceback" not in result.stderr


def test_check_exits_with_1_when_time_is_up(node: Node, processes: Processes) -> None:
    """The step says where it hangs."""
    result = run_check(f"{node.url}/realtime", processes.apps_path, "--timeout", "0.000001")
    assert (result.returncode, result.stderr.startswith("usher: connecting: not within")) == (1, True)


def test_check_exits_with_2_when_there_is_no_such_app(node: Node, processes: Processes) -> None:
    """A configuration error, as everywhere."""
    result = run_check(node.url, processes.apps_path, "--app", "99")
    assert (result.returncode, "99" in result.stderr) == (2, True)
