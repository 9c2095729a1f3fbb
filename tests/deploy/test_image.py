"""The image, built by its Dockerfile and run with no rights at all. Skipped where there are no containers."""

import json
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.api_client import ApiClient
from tests.client import connect
from tests.deploy.containers import ROOT, Engine
from tests.deploy.test_examples import NODES
from tests.integration.support import APP, apps_toml, eventually
from tests.processes import LOOPBACK, answers_200, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

IMAGE = "localhost/usher:test"
GRACE = 10.0
LARGEST = 60 * 2**20
"""Bytes that the image may add to its base."""
NO_RIGHTS = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the image."""
    with Engine(tmp_path_factory.mktemp("containers")) as engine:
        engine.build(IMAGE)
        yield engine


def readable(path: Path, text: str) -> Path:
    """A directory with one file, which the image's user may read."""
    path.parent.mkdir()
    path.write_text(text)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path.parent


def in_image(engine: Engine, code: str) -> str:
    """What a Python program says in a new container."""
    return engine.podman("run", "--rm", "--network=none", *NO_RIGHTS, "--entrypoint=python", IMAGE, "-c", code)


def test_image_says_what_it_is_and_how_to_run_it(engine: Engine) -> None:
    """A numeric user, so that Kubernetes can prove that it is not root; no shell around the entrypoint."""
    image = engine.inspect(IMAGE)
    config = image["Config"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["usher"], ["serve"], "SIGTERM")
    assert set(config["ExposedPorts"]) == {"6001/tcp", "9601/tcp"}
    assert config["Labels"]["org.opencontainers.image.title"] == "Usher"
    assert config["Labels"]["org.opencontainers.image.version"] == version
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert image["Size"] - engine.inspect("localhost/usher-base:runtime")["Size"] < LARGEST


def test_image_has_what_is_locked_and_nothing_else(engine: Engine) -> None:
    """No pip, no compiler's leavings, no tests: what is not there cannot be exploited, nor grow old."""
    code = "import importlib.metadata as m; print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    installed = {name.replace("_", "-") for name in in_image(engine, code).split()}
    lock = (ROOT / "deploy" / "image.lock").read_text()
    locked = set(re.findall(r"^[a-z0-9-]+==[^\s;]+", lock, re.MULTILINE))
    assert {name for name in installed if not name.startswith("usher-realtime==")} == locked


def test_image_has_nothing_that_its_user_could_change_or_become_root_with(engine: Engine) -> None:
    """What is installed belongs to root, is readable and compiled, and no file is setuid."""
    walk = "[os.path.join(place, name) for place, _, names in os.walk('/opt/usher') for name in names]"
    code = f"import os, json; print(json.dumps([(p, os.lstat(p).st_mode, os.lstat(p).st_uid) for p in {walk}]))"
    files = json.loads(in_image(engine, code))
    assert len(files) > 100
    assert [name for name, _, owner in files if owner != 0] == []
    assert [name for name, mode, _ in files if mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [name for name, mode, _ in files if not stat.S_ISLNK(mode) and mode & stat.S_IWOTH] == []
    assert any("/node/__pycache__/hub." in name for name, _, _ in files)


def test_image_refuses_a_wrong_configuration_with_2(engine: Engine) -> None:
    """No apps are mounted: it says so, without a traceback."""
    ran = engine.command("podman", "run", "--rm", "--network=none", *NO_RIGHTS, IMAGE)
    assert ran.returncode == 2
    assert "usher: /etc/usher/apps.toml" in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_container_without_rights_serves_a_client_and_stops_on_sigterm_with_0(engine: Engine, tmp_path: Path) -> None:
    """No root, no capability, nothing to write to, no shell: sign-in, an event, and a close that says come back."""
    port, ops_port = free_ports(2)
    apps = readable(tmp_path / "etc" / "apps.toml", apps_toml(APP))
    env = {"USHER_HOST": LOOPBACK, "USHER_OPS_HOST": LOOPBACK, "USHER_PORT": str(port), "USHER_OPS_PORT": str(ops_port)}
    env |= {"USHER_DRAIN__DELAY": "0", "USHER_DRAIN__SPREAD": "0"}
    container = engine.podman(
        *("run", "--detach", "--network=host", "--memory=128m", f"--volume={apps}:/etc/usher:ro", *NO_RIGHTS),
        *(f"--env={name}={value}" for name, value in env.items()),
        IMAGE,
    )
    await eventually(lambda: answers_200(f"http://{LOOPBACK}:{ops_port}/readyz"), "the container is ready", 30)
    async with trio.open_nursery() as nursery:
        client = await connect(nursery, APP, port)
        await client.sign_in("ada")
        backend = ApiClient(APP, port)
        assert (await backend.send_to_user("ada", "hello", "you")).status == 200
        await client.until(lambda: client.events)
        assert_no_rights(engine, container)
        check = [word.replace("9601", str(ops_port)) for word in NODES["node-1"]["healthcheck"]["test"]]
        engine.podman("exec", container, *check[1:])
        start = trio.current_time()
        await trio.to_thread.run_sync(engine.podman, "stop", f"--time={GRACE:.0f}", container)
        assert trio.current_time() - start < GRACE
        await client.until(lambda: client.ended)
        await backend.aclose()
    assert client.ended[0].code == 4200
    assert engine.inspect(container)["State"]["ExitCode"] == 0
    logs = engine.command("podman", "logs", container)
    assert "accepts connections" in logs.stdout
    assert '"level": "error"' not in logs.stderr
    assert "Traceback" not in logs.stderr


def assert_no_rights(engine: Engine, container: str) -> None:
    """The kernel's own word for it, from the process inside."""
    code = "print(open('/proc/1/status').read())"
    status = dict(re.findall(r"^(\w+):\s+(\S+)", engine.podman("exec", container, "python", "-c", code), re.MULTILINE))
    assert status["Uid"] == status["Gid"] == "10001"
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert engine.command("podman", "exec", container, "/bin/sh", "-c", "true").returncode != 0
    for place in ("/opt/usher/x", "/etc/usher/x", "/var/x", "/x"):
        ran = engine.command("podman", "exec", container, "python", "-c", f"open({place!r}, 'w')")
        assert ran.returncode == 1, place
