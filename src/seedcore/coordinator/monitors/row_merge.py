"""Puts the rows that several workers report of one stream into one order, before a monitor sees them.

A monitor is sequential: its calibration knows how a row depends on the ones before. Each worker reports a block of what
it claimed in the last half second, so that rows of several workers, fed as they come, would run back and forth.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

SILENT_S = 1.25
"""A worker that has not reported for so long is not waited for, and so no row waits for longer: workers report twice a
second, idle ones once."""

MEMBER_S = 10.0
"""Workers that reported rows of a stream within this time are waited for."""

MAX_WAITING = 2_000
"""Rows that wait, as many as a monitor remembers; of more, the first ones are fed early."""

Rows = npt.NDArray[np.float32]
_NOTHING = -1


class RowMerge:
    """Rows that wait until nothing can come any more that belongs before them.

    Workers claim in the order of places, so a report holds all up to the last place that waits then: what its worker
    claims later comes behind. A row is fed once every worker that reports the stream has reported all up to it.
    Where it does not (a backlog of different priorities, a clock that is wrong), rows are fed late or as they come.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._parts: list[tuple[npt.NDArray[np.int64], Rows]] = []
        self._first, self._last = 0, _NOTHING
        self._reported_up_to: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, places: Sequence[int], rows: Rows) -> None:
        """Rows were reported; `places` says for each where it stands in the stream."""
        if len(rows):
            added = np.array(places, dtype=np.int64)
            self._parts.append((added, rows))
            self._update(int(added.min()), int(added.max()), len(added))

    def note_report(self, worker: str) -> None:
        """A worker has reported; what it had claimed was added before."""
        if self._count:
            self._reported_up_to[worker] = self._last

    def take(self, workers: Collection[str]) -> Rows:
        """The rows, in order, that none of `workers` can report something before; without workers all of them."""
        until = min((self._reported_up_to.get(worker, _NOTHING) for worker in workers), default=self._last)
        if not self._count or (until < self._first and self._count <= MAX_WAITING):
            return np.zeros((0, self._columns), dtype=np.float32)
        places, rows = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.argsort(places, kind="stable")
        places, rows = places[order], rows[order]
        ready = max(int(places.searchsorted(until, side="right")), len(places) - MAX_WAITING)
        self._keep(places[ready:], rows[ready:], workers)
        taken: Rows = rows[:ready]
        return taken

    def _keep(self, places: npt.NDArray[np.int64], rows: Rows, workers: Collection[str]) -> None:
        """Let only these rows wait; they are in order."""
        self._parts, self._last, self._count = [], _NOTHING, 0
        if len(places):
            self._parts.append((places, rows))
            self._update(int(places[0]), int(places[-1]), len(places))
            self._reported_up_to = {
                worker: self._reported_up_to[worker] for worker in workers if worker in self._reported_up_to
            }
        else:
            self._reported_up_to = {}

    def _update(self, first: int, last: int, count: int) -> None:
        self._first = min(self._first, first) if self._count else first
        self._last = max(self._last, last)
        self._count += count
