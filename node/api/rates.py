"""How much an app may do on this node: a token bucket for each app and kind. Pure: `now` is an argument.

Looking and taking are two steps, because the key of an app is public: whoever knows it can send requests, but only
signed ones may use up what the app's backends are entitled to.
"""

from dataclasses import dataclass

_LONGEST_WAIT = 3600.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Rates:
    """Buckets by app id; each holds one second's worth, and at least one. A rate of 0 sets no limit.

    What costs more than a bucket holds is allowed when the bucket is full, and owed afterwards: so nothing is refused
    for ever, and the rate holds all the same.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, app_id: str, rate: float, now: float, cost: int = 1) -> float:
        """Seconds until the app may take `cost`; 0 if it may now. `rate`: how much each second."""
        if rate <= 0:
            return 0.0
        missing = min(float(cost), max(1.0, rate)) - self._fill(app_id, rate, now).tokens
        return min(max(0.0, missing / rate), _LONGEST_WAIT)

    def take(self, app_id: str, rate: float, now: float, cost: int = 1) -> None:
        """Count what `wait` allowed."""
        if rate > 0:
            self._fill(app_id, rate, now).tokens -= cost

    def _fill(self, app_id: str, rate: float, now: float) -> _Bucket:
        """The app's bucket as of `now`. A clock that was set back fills nothing, and goes on from there."""
        size = max(1.0, rate)
        bucket = self._buckets.setdefault(app_id, _Bucket(size, now))
        bucket.tokens = min(size, bucket.tokens + max(0.0, now - bucket.filled_at) * rate)
        bucket.filled_at = now
        return bucket
