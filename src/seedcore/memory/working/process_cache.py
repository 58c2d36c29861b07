"""A cache inside one process: payloads with a time to live, bounded in bytes."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from heapq import heapify, heappop, heappush


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Size and bound of a cache: `kind` is `process` or `redis`."""

    kind: str
    entries: int
    bytes: int
    max_bytes: int


class ProcessCache:
    """Keys to payloads, for use from one event loop.

    Drops what has expired, and the least recently used when all together exceed the bound.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        # A heap, soonest first; replaced and deleted entries leave items here that no longer match.
        self._expiries: list[tuple[float, str]] = []
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """The payload; None when there is none, or when it has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= time.monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def set(self, key: str, payload: bytes, ttl_s: float) -> None:
        """Keep a payload for at most `ttl_s` seconds; one that is over the bound by itself is not kept."""
        self._expire()
        self._drop(key)
        if _size(key, payload) > self.max_bytes:
            return
        expires = time.monotonic() + ttl_s
        self._entries[key] = (payload, expires)
        self._bytes += _size(key, payload)
        heappush(self._expiries, (expires, key))
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))
        if len(self._expiries) > 2 * len(self._entries) + 64:
            self._expiries = [(expires, name) for name, (_, expires) in self._entries.items()]
            heapify(self._expiries)

    def delete(self, key: str) -> bool:
        """Remove a key; True if it existed."""
        self._expire()
        return self._drop(key)

    def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()
        self._expiries.clear()
        self._bytes = 0

    def use(self) -> CacheUse:
        """Its size now, and its bound."""
        self._expire()
        return CacheUse("process", len(self._entries), self._bytes, self.max_bytes)

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= _size(key, entry[0])
        return True

    def _expire(self) -> None:
        now = time.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            expires, key = heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry[1] == expires:
                self._drop(key)


def _size(key: str, payload: bytes) -> int:
    return len(key.encode()) + len(payload)
