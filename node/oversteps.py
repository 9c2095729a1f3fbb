"""Who does too much is counted each time, and logged once a minute for each kind: a flood must not flood the log."""

import structlog
import trio

from node.limits import Limit, Measure
from node.metrics import Metrics

_log = structlog.get_logger(__name__)

_INTERVAL = 60.0  # seconds between two lines of a kind


class Oversteps:
    """Of one node, or of the part of it whose limits these are."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kinds: dict[tuple[Limit, Measure], tuple[float, int]] = {}  # the last line, and how many since

    def note(self, limit: Limit, measure: Measure) -> None:
        """Somebody was over the limit, and this was done."""
        self._metrics.oversteps.labels(limit.value, measure.value).inc()
        now = trio.current_time()
        logged_at, since = self._kinds.get((limit, measure), (now - _INTERVAL, 0))
        if now - logged_at < _INTERVAL:
            self._kinds[limit, measure] = logged_at, since + 1
            return
        self._kinds[limit, measure] = now, 0
        _log.warning("over a limit", limit=limit.value, measure=measure.value, unlogged=since)
