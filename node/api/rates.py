"""How much an app may do on this node: a token bucket for each app and kind. Pure: `now` is an argument.

Looking and taking are two steps, because the key of an app is public: whoever knows it can send requests, but only
signed ones may use up what the app's backends are entitled to.
"""

from node.bucket import bucket_of

_LONGEST_WAIT = 3600.0


class Rates:
    """Buckets by app id; each holds one second's worth, and at least one. A rate of 0 sets no limit.

    What costs more than a bucket holds is allowed when the bucket is full, and owed afterwards: so nothing is refused
    for ever, and the rate holds all the same.
    """

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._elapsed = 0.0
        self._last: float | None = None

    def wait(self, app_id: str, rate: float, now: float, cost: int = 1) -> float:
        """Seconds until the app may take `cost`; 0 if it may now. `rate`: how much each second."""
        if rate <= 0:
            return 0.0
        wait = bucket_of(rate).wait(self._full_at.get(app_id, 0.0), self._advance(now), cost)
        return min(wait, _LONGEST_WAIT)

    def take(self, app_id: str, rate: float, now: float, cost: int = 1) -> None:
        """Count what `wait` allowed."""
        if rate > 0:
            self._full_at[app_id] = bucket_of(rate).take(self._full_at.get(app_id, 0.0), self._advance(now), cost)

    def _advance(self, now: float) -> float:
        """Seconds since the first call. A clock that was set back fills nothing, and goes on from there."""
        if self._last is not None:
            self._elapsed += max(0.0, now - self._last)
        self._last = now
        return self._elapsed
