"""The resume point of streams: a snapshot of PostgreSQL's transactions.

Transactions commit in another order than they are numbered in, so "everything after number n" misses what commits late.
A reader asks for what its last snapshot did not know: later transactions, and those that were under way in it.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedcore.errors import EventIdAheadError, InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_TEXT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20}){0,9999})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pg_snapshot, `xmin:xmax:xip`: transactions from `xmax` on, and those in `running`, are not in it."""

    text: str
    xmax: int
    running: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """From its text.

        Raises:
            InvalidInputError: PostgreSQL would not read it as one.
            EventIdAheadError: its numbers are beyond those of any database.
        """
        found = _TEXT.fullmatch(text)
        if found is not None:
            xmin, xmax = int(found[1]), int(found[2])
            running = tuple(map(int, found[3].split(","))) if found[3] else ()
            inside = all(xmin <= number < xmax for number in running)
            if 0 < xmin <= xmax and inside and list(running) == sorted(running):
                if xmax >= 2**63:
                    # No database comes so far, and readers keep these numbers in 64 bits.
                    raise position_ahead()
                return cls(text, xmax, running)
        raise not_a_position()

    def __str__(self) -> str:
        return self.text

    def lacks(self, transactions: "npt.NDArray[np.int64]") -> "npt.NDArray[np.bool_]":
        """Which of these transactions are not in the snapshot, shape (n,)."""
        # Here, so that who only reads positions does not wait for NumPy.
        import numpy as np

        later = transactions >= self.xmax
        return later | np.isin(transactions, self.running) if self.running else later


def not_a_position() -> InvalidInputError:
    """The error for a `Last-Event-ID` that no stream of this SeedCore gave."""
    return InvalidInputError.for_field("Last-Event-ID", "not the id of an event of this stream; leave it out")


def position_ahead() -> EventIdAheadError:
    """The error for a `Last-Event-ID` that this database has not reached."""
    message = "later than every event here: of another database, or of this one before it was restored; leave it out"
    return EventIdAheadError.for_field("Last-Event-ID", message)
