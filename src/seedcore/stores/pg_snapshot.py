"""Where a reader of agents stands: a snapshot of PostgreSQL's transactions.

Transactions commit in another order than they are numbered in, so "everything after number n" misses what commits late.
A reader asks for what its last snapshot did not know: later transactions, and those that were under way in it.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedcore.errors import FieldError, InvalidInputError

_TEXT = re.compile(r"(\d{1,19}):(\d{1,19}):((?:\d{1,19}(?:,\d{1,19}){0,999})?)")

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pg_snapshot: transactions from `xmax` on, and those in `running`, are not in it."""

    text: str
    xmax: int
    running: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """From its text, `xmin:xmax:xip`.

        Raises:
            InvalidInputError: it is none.
        """
        found = _TEXT.fullmatch(text)
        if found is None or any(int(number) >= 2**63 for number in (found[1], found[2], *_numbers(found[3]))):
            message = "not the id of an event of this stream; leave it out to begin with a snapshot"
            raise InvalidInputError(message, errors=[FieldError("Last-Event-ID", message)])
        return cls(text, int(found[2]), tuple(int(number) for number in _numbers(found[3])))

    def __str__(self) -> str:
        return self.text

    def lacks(self, transactions: Ints) -> Mask:
        """Which of these transactions are not in the snapshot, shape (n,)."""
        later: Mask = transactions >= self.xmax
        return later | np.isin(transactions, self.running) if self.running else later


def _numbers(text: str) -> list[str]:
    return text.split(",") if text else []
