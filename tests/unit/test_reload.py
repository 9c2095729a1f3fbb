"""Apps that follow their file."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
import trio

from node.config.apps import Apps, load_apps
from node.config.reload import AppsFile, Watched, reload_on_hangup
from node.metrics import Metrics

ONE = '[[apps]]\nid = "1"\nkey = "one"\nsecret = "s"\n'
TWO = ONE + '[[apps]]\nid = "2"\nkey = "two"\nsecret = "s"\n'
BROKEN = ONE + "[[apps]]\nid = 2\n"
FAST = 0.005


async def until(condition: Callable[[], bool]) -> None:
    """Look until something holds."""
    for _ in range(2000):
        if condition():
            return
        await trio.sleep(FAST)
    pytest.fail("it never came to hold")


def write(path: Path, text: str | None) -> None:
    """Replace a file's content, or remove it."""
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


def watched(path: Path) -> tuple[Apps, Watched]:
    """Load a file the way a node does."""
    apps = Apps()
    file = Watched(AppsFile(path, apps))
    apps.replace(load_apps(path))
    return apps, file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An apps.toml with one app."""
    path = tmp_path / "apps.toml"
    path.write_text(ONE)
    return path


async def test_apps_follow_their_file_when_it_is_rewritten(path: Path, nursery: trio.Nursery) -> None:
    """Editing the file is all there is to do."""
    apps, file = watched(path)
    nursery.start_soon(file.watch, FAST)
    write(path, TWO)
    await until(lambda: len(apps) == 2)


async def test_apps_follow_their_file_when_a_symlink_on_the_way_is_swapped(tmp_path: Path, nursery: trio.Nursery) -> None:
    """This is how a mounted Secret changes: file -> ..data/file, ..data -> a new directory."""
    for name, text in (("v1", ONE), ("v2", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "apps.toml").write_text(text)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "apps.toml").symlink_to("..data/apps.toml")
    apps, file = watched(tmp_path / "apps.toml")
    nursery.start_soon(file.watch, FAST)
    (tmp_path / "..new").symlink_to("v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    await until(lambda: len(apps) == 2)


@pytest.mark.parametrize("wrong", [BROKEN, "not toml", None])
async def test_apps_stay_and_it_is_said_once_when_the_new_file_is_wrong(
    path: Path, nursery: trio.Nursery, wrong: str | None
) -> None:
    """A typing error takes no tenant down and fills no log; a mended file is taken."""
    apps, file = watched(path)
    looks = 0

    def look() -> bool:
        nonlocal looks
        looks += 1
        return looks > 20

    with structlog.testing.capture_logs() as logs:
        nursery.start_soon(file.watch, FAST)
        write(path, wrong)
        await until(lambda: bool(logs))
        await until(look)
        assert [line["event"] for line in logs] == ["apps not reloaded"]
        assert "apps.toml" in logs[0]["problems"][0]
        assert [app.id for app in apps] == ["1"]
        write(path, TWO)
        await until(lambda: len(apps) == 2)


async def test_reloads_are_counted_by_how_they_ended(path: Path) -> None:
    """For alerts: a log line alone is not seen."""
    metrics, apps = Metrics(), Apps()
    file = Watched(AppsFile(path, apps), metrics.reloads)
    for text in (TWO, BROKEN, None, TWO):
        write(path, text)
        await file.reload()
    assert metrics.reloads.labels("apps", "success").value == 2
    assert metrics.reloads.labels("apps", "refused").value == 2


async def test_apps_are_read_again_when_the_process_gets_sighup(path: Path, nursery: trio.Nursery) -> None:
    """Also when the file did not change; the log says what did."""
    apps, file = watched(path)
    await nursery.start(reload_on_hangup, [file])
    with structlog.testing.capture_logs() as logs:
        write(path, TWO.replace('"one"', '"uno"'))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(apps) == 2)
        await until(lambda: bool(logs))
    expected = {"event": "apps reloaded", "log_level": "info", "apps": 2, "added": 1, "removed": 0, "changed": 1}
    assert logs == [expected]
