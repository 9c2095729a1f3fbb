"""How nodes feel while they work hard: whether `/livez` answers, how late their loops are, what else they count.

Nodes without an address for operators (an installed cluster, another server) are left out.
"""

import re
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from benchmarks.processes import answers
from benchmarks.servers import Node

_INTERVAL = 0.1
_TIMEOUT = 10.0
_LAG = "usher_loop_lag_seconds_bucket"
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_BOUND = re.compile(r'le="([^"]+)"')


@dataclass(slots=True)
class Health:
    """Watches nodes while the context is open; the findings stand afterwards."""

    nodes: Sequence[Node]
    slowest: float = 0.0
    """Seconds of the slowest answer of `/livez`."""
    asked: int = 0
    unanswered: int = 0
    lag: Mapping[float, float] = field(default_factory=dict)
    """How many wake-ups of all loops were late by how many seconds at most, cumulative."""
    counted: Mapping[str, float] = field(default_factory=dict)
    """By how much each metric grew, all nodes added up: as `name`, over all labels, and as `name label="value"`."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.nodes = [node for node in self.nodes if node.ops_url]
        self.lag, self.counted = self._scrape()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        lag, counted = self._scrape()
        self.lag = {bound: count - self.lag.get(bound, 0.0) for bound, count in lag.items()}
        self.counted = {name: value - self.counted.get(name, 0.0) for name, value in counted.items()}

    def lag_quantile(self, share: float) -> float:
        """That share of the wake-ups was not later than so many seconds: the bound of a bucket, maybe infinite."""
        return quantile_bound(self.lag, share)

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            for node in self.nodes:
                start = time.monotonic()
                self.unanswered += not answers(f"{node.ops_url}/livez", _TIMEOUT)
                self.asked += 1
                self.slowest = max(self.slowest, time.monotonic() - start)

    def _scrape(self) -> tuple[dict[float, float], dict[str, float]]:
        lag: dict[float, float] = {}
        counted: dict[str, float] = {}
        for node in self.nodes:
            with urllib.request.urlopen(f"{node.ops_url}/metrics", timeout=_TIMEOUT) as response:  # noqa: S310 - a node started here
                text = response.read().decode()
            add_samples(text, lag, counted)
        return lag, counted


def add_samples(text: str, lag: dict[float, float], counted: dict[str, float]) -> None:
    """Add what a page of metrics says: the buckets of loop lag by their bounds, and all samples as `Health.counted`."""
    for name, labels, value in _SAMPLE.findall(text):
        if name == _LAG and (bound := _BOUND.search(labels)):
            lag[float(bound[1])] = lag.get(float(bound[1]), 0.0) + float(value)
        for key in {name, f"{name} {labels}".strip()}:
            counted[key] = counted.get(key, 0.0) + float(value)


def quantile_bound(buckets: Mapping[float, float], share: float) -> float:
    """The smallest bound of cumulative buckets that has at least `share` of all below it; 0 if nothing was counted."""
    total = max(buckets.values(), default=0.0)
    return next((bound for bound in sorted(buckets) if total and buckets[bound] >= share * total), 0.0)
