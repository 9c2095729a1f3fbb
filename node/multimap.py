"""Sets by key, most of which hold one thing. Pure.

A node has a set of connections for every user signed in here, and one of watchers for every user watched, and nearly all
of them hold one connection. An empty set alone costs 216 bytes, so a single value is stored as itself.
"""

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Multimap(Generic[K, V]):
    """What belongs to each key. Values are not sets themselves."""

    def __init__(self) -> None:
        self._values: dict[K, V | set[V]] = {}

    def __len__(self) -> int:
        """How many keys have values."""
        return len(self._values)

    def get(self, key: K) -> Collection[V]:
        """The values of a key, perhaps none. A live view of them: copy it before changing them."""
        values = self._values.get(key)
        if values is None:
            return ()
        return values if isinstance(values, set) else (values,)

    def add(self, key: K, value: V) -> bool:
        """Add a value; True if it is the key's first. Idempotent."""
        values = self._values.get(key)
        if values is None:
            self._values[key] = value
            return True
        if isinstance(values, set):
            values.add(value)
        elif values != value:
            self._values[key] = {values, value}
        return False

    def discard(self, key: K, value: V) -> bool:
        """Remove a value; True if it was the key's last. Idempotent."""
        values = self._values.get(key)
        if isinstance(values, set):
            values.discard(value)
            if len(values) == 1:
                self._values[key] = values.pop()
            return False
        if values is None or values != value:
            return False
        del self._values[key]
        return True
