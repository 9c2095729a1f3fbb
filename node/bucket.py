"""The token bucket that every limit of a rate is made of. Pure: `now` is an argument, on a clock that never goes back.

What a bucket holds is kept by whoever it belongs to, as one number: the moment at which it will be full again, 0.0 for one
that nobody took from. So ten thousand connections share one `Bucket`, and each pays for a float.
"""

from functools import lru_cache

_ROUNDING = 1e-9  # seconds


class Bucket:
    """Fills by `rate` each second, and holds `burst`. Never changes."""

    __slots__ = ("burst", "pause", "rate", "span")

    def __init__(self, rate: float, burst: float) -> None:
        """Both over 0."""
        self.rate = rate
        self.pause = 1 / rate
        """Seconds that bring one."""
        self.burst = burst
        self.span = burst / rate
        """Seconds from empty to full."""

    def take(self, full_at: float, now: float, cost: float = 1.0) -> float:
        """When it will be full after this was taken; it may owe, and what it owes is `full_at - now - span`."""
        return (full_at if full_at > now else now) + cost * self.pause  # noqa: FURB136 - max() takes as long as all the rest

    def wait(self, full_at: float, now: float, cost: float = 1.0) -> float:
        """Seconds until `cost` is there; 0.0 if it is now. More than the bucket holds is there when it is full."""
        wait = full_at - now - (self.burst - min(cost, self.burst)) / self.rate
        return wait if wait > _ROUNDING else 0.0

    def owes(self, full_at: float, now: float, times: float = 1.0) -> bool:
        """Whether more was taken than so many bursts hold."""
        return full_at - now > self.span * times + _ROUNDING


@lru_cache(maxsize=1024)  # every app has its own, for as long as its settings are the same
def bucket_of(rate: float) -> Bucket:
    """Holds what one second brings, and at least one."""
    return Bucket(rate, max(1.0, rate))
