"""Reloads the apps when their file changes, and on SIGHUP, without touching a connection.

The file is looked at each second, through symlinks: a mounted Secret changes by swapping one. Rules for
whoever edits this file: a file that is wrong changes nothing and is logged once, not each second; the file
may vanish and return; reading happens off the loop, because a mounted file can be slow.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import trio

from node.config.apps import load_apps
from node.config.keys import ConfigError

if TYPE_CHECKING:
    from node.config.apps import App, Apps

POLL_INTERVAL: Final = 1.0

_Stamp = tuple[int, int, int, int] | None
_log = structlog.get_logger()


class AppsFile:
    """An `apps.toml` that is watched, and the Apps it fills. Make it right before the first load."""

    def __init__(self, path: str | Path, apps: Apps) -> None:
        self._path = Path(path)
        self._apps = apps
        self._stamp = _stamp(self._path)

    async def watch(self, interval: float = POLL_INTERVAL) -> None:
        """Reload whenever the file changes, looking every `interval` seconds, until cancelled."""
        while True:
            await trio.sleep(interval)
            stamp = await trio.to_thread.run_sync(_stamp, self._path)
            if stamp != self._stamp:
                await self.reload(stamp)

    async def reload_on_hangup(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reload on each SIGHUP, until cancelled. Only in the main thread; before it started, SIGHUP kills."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                await self.reload(await trio.to_thread.run_sync(_stamp, self._path))

    async def reload(self, stamp: _Stamp) -> None:
        """Put what the file says in place, or log what is wrong with it and keep the apps there are.

        `stamp` is of before the reading: a file that changes meanwhile is read again.
        """
        self._stamp = stamp
        try:
            apps = await trio.to_thread.run_sync(load_apps, self._path)
            before = {app.id: app for app in self._apps}
            self._apps.replace(apps)
        except ConfigError as error:
            _log.error("apps not reloaded", problems=list(error.problems))
            return
        _log.info("apps reloaded", **_changes(before, {app.id: app for app in apps}))


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
