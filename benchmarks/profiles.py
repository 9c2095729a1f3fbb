"""Where the CPU time of nodes goes, by py-spy, if a run asks for it (`--profile DIR`).

A profiled run's figures are not comparable with others: sampling costs the server time.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_RATE = 500  # samples per second
_SHOWN = 30


class Profiler:
    """Samples processes while the context is open, and writes folded stacks and a summary of each."""

    def __init__(self, directory: str, what: str, pids: Sequence[int]) -> None:
        stem = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")
        self._paths = {pid: Path(directory) / f"{stem}-{number}.folded" for number, pid in enumerate(pids)}
        self._recorders: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
        if spy is None:
            raise RuntimeError("--profile needs py-spy: pip install py-spy")
        for pid, path in self._paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            command = [spy, "record", "--pid", str(pid), "--format", "raw", "--rate", str(_RATE), "--output", str(path)]
            self._recorders.append(
                subprocess.Popen([*command, "--nonblocking"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        return self

    def __exit__(self, *_: object) -> None:
        for recorder in self._recorders:
            recorder.send_signal(signal.SIGINT)
        for recorder in self._recorders:
            recorder.wait(30)
        for path in self._paths.values():
            if path.exists():
                path.with_suffix(".txt").write_text(summarize(path.read_text()))


def summarize(folded: str) -> str:
    """The functions and lines with the most samples, by themselves and with what they called."""
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    total = 0
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    return f"{total} samples\n" + _table("own time", own, total) + _table("with callees", inclusive, total)


def _table(title: str, counts: Counter[str], total: int) -> str:
    lines = [f"{100 * count / total:6.1f} %  {frame}" for frame, count in counts.most_common(_SHOWN)]
    return "\n".join(["", title, *lines, ""])
