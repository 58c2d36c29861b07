"""Counts the calls of other workers that run in this process, so that its agents' backlog is known and not reported."""

import threading
from collections.abc import Iterable

from seedcore.skills.host_protocol import Call


class ForeignWork:
    """Calls in hand by agent and type. Ray's loop counts, and the worker's loop reads: a lock keeps the two apart."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def begin(self, calls: Iterable[Call]) -> None:
        """Another worker sent these."""
        with self._lock:
            for call in calls:
                key = call.agent, call.skill
                self._counts[key] = self._counts.get(key, 0) + 1

    def end(self, calls: Iterable[Call]) -> None:
        """They are over, or not wanted any more."""
        with self._lock:
            for call in calls:
                key = call.agent, call.skill
                left = self._counts.get(key, 1) - 1
                if left > 0:
                    self._counts[key] = left
                else:
                    self._counts.pop(key, None)

    def waiting(self) -> list[tuple[str, str, int]]:
        """Agent, type and count."""
        if not self._counts:
            return []
        with self._lock:
            return [(agent, task_type, count) for (agent, task_type), count in self._counts.items()]
