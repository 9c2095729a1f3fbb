"""Makes again what was made of files, when one of them changes, and on SIGHUP, without touching a connection.

Files are looked at each second, through symlinks: a mounted Secret changes by swapping one. Rules for whoever edits this
file: files that are wrong change nothing and are logged once, not each second; they may vanish and return; reading
happens off the loop, because a mounted file can be slow.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
import trio

from node.config.apps import load_apps
from node.config.keys import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.config.apps import App, Apps
    from node.tallies import Tallies

POLL_INTERVAL: Final = 1.0

_Stamp = tuple[int, int, int, int] | None
_log = structlog.get_logger()


class Made(Protocol):
    """What was made of files."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files."""

    def load(self) -> Any:
        """Read the files, in a thread. Raises `ConfigError`, and then nothing is changed."""

    def put(self, loaded: Any) -> Mapping[str, int]:
        """Put what `load` returned in place, in the Trio thread; numbers for the log. Raises `ConfigError` likewise."""


class Watched:
    """Files that are looked at. Make it right before they are loaded for the first time."""

    def __init__(self, made: Made, reloads: Tallies | None = None) -> None:
        """`reloads` counts them, by what and result."""
        self._made = made
        self._reloads = reloads
        self._stamps = self._look()

    async def watch(self, interval: float = POLL_INTERVAL) -> None:
        """Reload whenever a file changes, looking every `interval` seconds, until cancelled."""
        while True:
            await trio.sleep(interval)
            if await trio.to_thread.run_sync(self._look) != self._stamps:
                await self.reload()

    async def reload(self) -> None:
        """Put what the files say in place, or log what is wrong with them and keep what there is.

        The stamps are of before the reading: a file that changes meanwhile is read again.
        """
        self._stamps = await trio.to_thread.run_sync(self._look)
        try:
            changes = self._made.put(await trio.to_thread.run_sync(self._made.load))
        except ConfigError as error:
            _log.error(f"{self._made.name} not reloaded", problems=list(error.problems))
            self._count("refused")
        else:
            self._count("success")
            _log.info(f"{self._made.name} reloaded", **changes)

    def _count(self, result: str) -> None:
        if self._reloads is not None:
            self._reloads.labels(self._made.name, result).inc()

    def _look(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._made.paths)


async def reload_on_hangup(
    watched: Sequence[Watched], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Reload all on each SIGHUP, until cancelled. Only in the main thread; before it started, SIGHUP kills."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            for each in watched:
                await each.reload()


class AppsFile:
    """An `apps.toml`, and the apps that it fills."""

    name = "apps"

    def __init__(self, path: str | Path, apps: Apps) -> None:
        self.paths = (Path(path),)
        self._apps = apps

    def load(self) -> tuple[App, ...]:
        """See `Made`."""
        return load_apps(self.paths[0])

    def put(self, loaded: tuple[App, ...]) -> Mapping[str, int]:
        """See `Made`."""
        before = {app.id: app for app in self._apps}
        self._apps.replace(loaded)
        return _changes(before, {app.id: app for app in loaded})


def _stamp(path: Path) -> _Stamp:
    """Tell one state of the file from another; None while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _changes(before: dict[str, App], after: dict[str, App]) -> dict[str, int]:
    return {
        "apps": len(after),
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "changed": sum(before[app_id] != after[app_id] for app_id in before.keys() & after.keys()),
    }
