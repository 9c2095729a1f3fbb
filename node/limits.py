"""What one connection and one address may do, before it is taken for abuse. Pure.

What a client sends is measured in seconds of its share: a message takes `1 / messages_per_second`, a byte
`1 / bytes_per_second`, so one bucket and one float limit both. What is refused is measured apart, in failures.

    within the burst ──▶ over it: told once, or signatures are not looked at ──▶ over `CLOSING` bursts: closed with 4100

4100, because clients come back a second later: whoever only had a bad moment is not lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from node.bucket import Bucket

CLOSING = 2.0
"""Bursts that make a connection end."""

_ADDRESSES = 10_000  # remembered: 2 MB
_LONGEST_ADDRESS = 64  # characters; a proxy may forward anything
_NETWORK = 64  # bits of an IPv6 address that one subscriber has: all others are theirs to choose


class Limit(Enum):
    """What was done too much."""

    HANDSHAKES = "handshakes"
    TRAFFIC = "traffic"
    FAILURES = "failures"
    WAITING = "waiting"


class Measure(Enum):
    """What was done about it."""

    TOLD = "told"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection; None sets none. `traffic` is in seconds of its share."""

    traffic: Bucket | None = None
    message_cost: float = 0.0
    byte_cost: float = 0.0
    failures: Bucket | None = None


UNLIMITED = Limits()


def limit_traffic(messages: float, size: float, burst: float, longest: int) -> tuple[Bucket | None, float, float]:
    """The first three of `Limits`: messages and bytes each second (0: any number), `burst` in seconds.

    The longest message passes, whatever the burst.
    """
    if not messages and not size:
        return None, 0.0, 0.0
    message_cost, byte_cost = 1 / messages if messages else 0.0, 1 / size if size else 0.0
    return Bucket(1.0, max(burst, 2 * longest * byte_cost)), message_cost, byte_cost


def limit_failures(each_minute: float) -> Bucket | None:
    """A minute's worth at once; 0 sets no limit."""
    return Bucket(each_minute / 60, each_minute) if each_minute else None


class Addresses:
    """How much each address has done of late. Bounded: the one that was quiet for the longest time is forgotten."""

    def __init__(self, rate: float, burst: float, size: int = _ADDRESSES) -> None:
        """`rate` each second; 0 sets no limit."""
        self._bucket = Bucket(rate, max(1.0, burst)) if rate else None
        self._size = size
        self._full_at: dict[str, float] = {}  # the quiet ones first

    def __len__(self) -> int:
        return len(self._full_at)

    def __iter__(self) -> Iterator[str]:
        return iter(self._full_at)

    def admit(self, remote: str, now: float) -> bool:
        """Count one more from `remote` (`address:port`, or what a trusted proxy says); False: it is one too many."""
        if self._bucket is None or not remote:
            return True
        address = address_of(remote)
        full_at = self._full_at.pop(address, 0.0)
        admitted = not self._bucket.wait(full_at, now)
        self._full_at[address] = self._bucket.take(full_at, now) if admitted else full_at
        if len(self._full_at) > self._size:
            del self._full_at[next(iter(self._full_at))]
        return admitted


def address_of(remote: str) -> str:
    """Whom a limit counts as one: an IPv4 address, an IPv6 network, or whatever else a proxy calls its clients."""
    host = remote[1:].partition("]")[0] if remote.startswith("[") else remote
    if host.count(":") == 1:
        host = host.partition(":")[0]
    if ":" not in host:
        return host[:_LONGEST_ADDRESS]
    try:
        address = IPv6Address(host)
    except ValueError:
        return host[:_LONGEST_ADDRESS]
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 128 - _NETWORK << 128 - _NETWORK))
