"""A cache that is limited in bytes and forgets what was not used for the longest time."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Values by key, each with its size; the least recently used go first.

    Args:
        limit: How many bytes it may hold; a value that is larger by itself is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: K) -> bool:
        return key in self._held

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; None where it is not held."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: K, value: V, size: int) -> None:
        """Hold a value of `size` bytes, forgetting others until it fits."""
        self.drop(key)
        if size > self.limit:
            return
        while self.used + size > self.limit:
            self.drop(next(iter(self._held)))
        self._held[key] = value, size
        self.used += size

    def drop(self, key: K) -> None:
        """Forget a value, if it is held."""
        self.used -= self._held.pop(key, (None, 0))[1]

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self.used = 0
