"""The `usher` command."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.config.keys import ConfigError
from node.config.settings import Settings

APPS = '[[apps]]\nid = "1"\nkey = "k"\nsecret = "hush"\n'


def usher(*arguments: str, **environment: str) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"USHER_CONFIG": None, **environment}).invoke(main, arguments)


@pytest.fixture
def apps(tmp_path: Path) -> str:
    """Where a right apps.toml is."""
    path = tmp_path / "apps.toml"
    path.write_text(APPS)
    return str(path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `serve` was run with; it ends at once with status 7."""
    settings: list[Settings] = []

    def run(given: Settings) -> int:
        settings.append(given)
        return 7

    module = types.ModuleType("node.serve")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "node.serve", module)
    return settings


def test_serve_takes_the_flags_of_its_stable_interface(served: list[Settings], tmp_path: Path) -> None:
    """Scripts and charts rely on these."""
    config = tmp_path / "usher.toml"
    config.write_text("[presence]\nlinger = 3\n")
    result = usher(
        *("serve", "--host", "::1", "--port", "0", "--ops-port", "0", "--nats", "nats://a,nats://b"),
        *("--apps", "a.toml", "--config", str(config)),
    )
    (settings,) = served
    assert result.exit_code == 7
    assert (settings.host, settings.port, settings.ops_port, settings.apps) == ("::1", 0, 0, "a.toml")
    assert (settings.nats.servers, settings.presence.linger) == (("nats://a", "nats://b"), 3)


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_usher_exits_with_2_when_the_settings_are_wrong(command: str, served: list[Settings], apps: str) -> None:
    """One line for each problem on stderr, no traceback, and nothing starts."""
    result = usher(command, "--port", "x", "--apps", apps, USHER_PRT="1")
    assert (result.exit_code, result.stdout, served) == (2, "", [])
    assert result.stderr.splitlines() == [
        "usher: environment: USHER_PRT: there is no such key; did you mean USHER_PORT?",
        'usher: flag --port: port: expected an integer from 0 to 65535, got "x"',
    ]


def test_serve_exits_with_2_when_the_apps_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node reads the apps; what it says about them reaches the operator."""

    def run(_settings: Settings) -> int:
        raise ConfigError("apps.toml: apps: wrong")

    module = types.ModuleType("node.serve")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "node.serve", module)
    result = usher("serve")
    assert (result.exit_code, result.stderr) == (2, "usher: apps.toml: apps: wrong\n")


def test_check_config_says_what_is_set_and_where(apps: str) -> None:
    """Without any secret."""
    result = usher(
        *("check-config", "--apps", apps, "--nats", "nats://me:hush@a"),
        USHER_NATS__TOKEN="hush",
    )
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f'apps = "{apps}"  (flag --apps)',
        'nats.servers = ["nats://***@a"]  (flag --nats)',
        "nats.token = a value that is not shown  (variable USHER_NATS__TOKEN)",
        f"1 app in {apps}",
    ]


def test_check_config_exits_with_2_when_the_apps_are_wrong(tmp_path: Path) -> None:
    """The file that is mounted wrong is found before the rollout."""
    result = usher("check-config", "--apps", str(tmp_path / "absent.toml"))
    assert result.exit_code == 2
    assert "absent.toml: cannot be read" in result.stderr


def test_demo_takes_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """They reach the demo, whose status is the command's."""
    taken: dict[str, object] = {}

    def run(**options: object) -> int:
        taken.update(options)
        return 3

    module = types.ModuleType("node.demo")
    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "node.demo", module)
    result = usher("demo", "--port", "0", "--nodes", "2", "--pusher-js", "p.js")
    assert result.exit_code == 3
    assert taken == {"host": "127.0.0.1", "port": 0, "nodes": 2, "pusher_js": "p.js"}


def test_usher_is_a_module_too() -> None:
    """`python -m node` is what the demo and the tests start."""
    shown = subprocess.run([sys.executable, "-m", "node", "version"], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.startswith("usher 0.")


def test_grace_prints_whole_seconds_that_a_stop_takes_at_most(apps: str) -> None:
    """What charts and unit files give: delay, spread, the longer of timeout and linger, linger, webhooks, two more."""
    assert usher("grace").output == "30\n"
    assert usher("grace", USHER_NATS__SERVERS="nats://n:4222").output == "30\n"
    assert usher("grace", USHER_DRAIN__SPREAD="60.5", USHER_DRAIN__DELAY="10").output == "86\n"
    assert usher("grace", USHER_DRAIN__SPREAD="soon").exit_code == 2


def test_wait_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a preStop hook, for as many seconds as it is told, and no nonsense."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert [usher("wait", seconds).exit_code for seconds in ("5", "0.5", "-1", "long")] == [0, 0, 2, 2]
    assert slept == [5, 0.5]


STOPPED_EARLY = """
import os, runpy, signal, sys

class Stopper:
    def find_spec(self, name, path=None, target=None):
        if name == "node.cli":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Stopper())
sys.argv = ["usher", *sys.argv[1:]]
runpy.run_module("node", run_name="__main__")
"""


@pytest.mark.parametrize(("command", "status"), [("serve", 0), ("version", -15)])
def test_serve_heeds_sigterm_before_it_imports_anything(command: str, status: int) -> None:
    """The first process of a container is deaf without a handler; other commands end as any program does."""
    result = subprocess.run([sys.executable, "-c", STOPPED_EARLY, command], check=False, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (status, b"")
