"""The log of what workers learned, by version and reporter: an update holds what others learned since a version."""

from collections import deque
from typing import NamedTuple

from seedcore.pricing.learned_increments import summed
from seedcore.pricing.learned_json import Learned

MAX_ENTRIES = 20_000
"""Increments that are kept; who knows only a version before them gets the whole snapshot."""

MAX_TYPES = 1_000
"""Types that are marked as changed otherwise; with more of them everyone gets the whole snapshot."""


class _Entry(NamedTuple):
    version: int
    reporter: str
    increment: Learned


class LearnedLog:
    """Increments, and types that changed otherwise: these go whole into an update.

    Attributes:
        floor: the lowest version since which everything is known.
    """

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._types: dict[str, int] = {}
        self.floor = 0

    def add(self, version: int, reporter: str, increments: list[Learned]) -> None:
        """Log what a reporter learned; `version` is the first that includes it."""
        self._entries.extend(_Entry(version, reporter, given) for given in increments)
        while len(self._entries) > MAX_ENTRIES:
            self.floor = max(self.floor, self._entries.popleft().version)

    def mark(self, version: int, types: set[str]) -> None:
        """Note types whose rates changed otherwise than by increments."""
        self._types |= dict.fromkeys(types, version)
        if len(self._types) > MAX_TYPES:
            self._types.clear()
            self.floor = max(self.floor, version)

    def types_since(self, version: int) -> list[str]:
        """Types that are to be sent whole to who knows `version`."""
        return [name for name, changed in self._types.items() if changed > version]

    def since(self, version: int, reporter: str) -> list[Learned]:
        """What others than `reporter` learned since `version`, summed by agent and type.

        Of types that are sent whole only the money is left.
        """
        whole, found = set(self.types_since(version)), list[Learned]()
        for entry in reversed(self._entries):
            if entry.version <= version:
                break
            if entry.reporter == reporter:
                continue
            if entry.increment["type"] not in whole:
                found.append(entry.increment)
            elif entry.increment.get("paid"):
                found.append({**entry.increment, "count": 0, "seconds": 0.0, "successes": 0})
        return summed(reversed(found))
