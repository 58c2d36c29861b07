"""Which reports of which worker have been heard: each counts once, however often it arrives."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from seedcore.errors import OverloadedError

SILENT_S = 10.0
"""A worker that has not reported for so long counts as gone."""

KEPT_S = 3_600.0
"""A report that is repeated later than this counts again."""

MAX_SESSIONS = 10_000


@dataclass(slots=True)
class _Session:
    """The highest number that was heard, and when the worker last reported."""

    number: int
    at: float


class ReportSessions:
    """Numbers of heard reports by worker and session (a start of the worker)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], _Session] = {}
        self.counts = {"heard": 0, "repeated": 0}

    def hear(self, asker: str, session: str, number: int) -> bool:
        """Whether the report is new; a number that is not above the last one was heard before.

        Raises:
            OverloadedError: too many workers report.
        """
        now, key = self._clock(), (asker, session)
        known = self._known.pop(key, None)
        if known is None:
            self._drop(now - KEPT_S)
            if len(self._known) >= MAX_SESSIONS:
                raise OverloadedError(f"More than {MAX_SESSIONS} workers reported within an hour.", retry_after_s=5)
            known = _Session(0, now)
        # Inserted again: the order is that of the last report.
        self._known[key] = known
        known.at = now
        is_new = number > known.number
        known.number = max(known.number, number)
        self.counts["heard" if is_new else "repeated"] += 1
        return is_new

    def heard(self, asker: str, session: str) -> int:
        """The highest number that was heard; 0: none."""
        known = self._known.get((asker, session))
        return 0 if known is None else known.number

    def workers(self) -> int:
        """Workers that report."""
        since = self._clock() - SILENT_S
        return len({asker for (asker, _), known in self._known.items() if known.at > since})

    def _drop(self, before: float) -> None:
        for key in list(self._known):
            if self._known[key].at > before:
                break
            del self._known[key]
