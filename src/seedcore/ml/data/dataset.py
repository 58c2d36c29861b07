"""A training set in memory, and the bounds of one."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import InvalidInputError, TooLargeError
from seedcore.ml.data.column_encoder import Floats
from seedcore.schemas.ml.models import MIN_TRAIN_ROWS, Column, Label, LabelKind
from seedcore.settings import Settings

MEMORY_FACTOR = 4
"""Copies of a training set that are in memory at once: the values, the part that is fitted, XGBoost's own copy of it
and what it accumulates for each row."""

ROW_COLUMNS = 2
"""As many columns more count for what XGBoost keeps for each row: gradients and its prediction so far.

Measured: 212 MiB at the peak for 1,000,000 rows of 20 columns and their label, where the estimate is 351 MiB; 104 and
122 MiB for 5 columns.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A training set.

    Attributes:
        columns: names of the features.
        matrix: features (n, d): numbers, 1 and 0 for booleans, codes of categories; NaN where a value is missing.
        labels: the classes; empty for a regression.
        targets: (n,) class numbers, or the values themselves.
        schema: what is known of each feature; empty: all are numbers.
        weights: (n,) of the rows; None: all count alike.
        times: (n,) seconds since 1970, or whatever number says when; None: the rows have no order.
    """

    columns: tuple[str, ...]
    matrix: Floats
    label_column: str
    label_kind: LabelKind
    labels: tuple[Label, ...]
    targets: Floats
    schema: tuple[Column, ...] = ()
    weights: Floats | None = None
    times: NDArray[np.float64] | None = None

    def digest(self) -> str:
        """SHA-256 of all that a model learns from, in hexadecimal."""
        facts = (self.columns, self.label_column, self.label_kind, self.labels, [c.categories for c in self.schema])
        found = sha256(repr(facts).encode())
        for part in (self.matrix, self.targets, self.weights, self.times):
            found.update(b"-" if part is None else np.ascontiguousarray(part).view(np.uint8).data)
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """What the columns of a training set are for; all others are features.

    Attributes:
        label: what is to be predicted.
        weight: how much each row counts; None: all alike.
        time: when each row was; None: they have no order.
        categories: features of categories, besides those that hold text.
    """

    label: str
    weight: str | None = None
    time: str | None = None
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TrainLimits:
    """Bounds of a training set.

    Attributes:
        rows: at most.
        memory: bytes that a training may need, by `check_size`.
        file: bytes of one file.
    """

    rows: int
    memory: int = 2 << 30
    file: int = 256 << 20

    @classmethod
    def of(cls, settings: Settings) -> "TrainLimits":
        """Those of the settings."""
        return cls(settings.max_train_rows, settings.max_train_bytes, settings.max_dataset_bytes)

    def check_rows(self, rows: int) -> None:
        """Raise TooLargeError when there are too many rows."""
        if rows > self.rows:
            raise TooLargeError(f"There are more than {self.rows} rows (SEEDCORE_MAX_TRAIN_ROWS).", limit=self.rows)

    def check_size(self, rows: int, columns: int) -> None:
        """Raise TooLargeError when training on so many rows and columns would need too much memory."""
        needed = rows * (columns + ROW_COLUMNS) * 4 * MEMORY_FACTOR
        if needed > self.memory:
            raise TooLargeError(
                f"Training on {rows} rows of {columns} columns takes about {needed >> 20} MiB, at most "
                f"{self.memory >> 20} MiB are allowed (SEEDCORE_MAX_TRAIN_BYTES): send fewer rows or columns.",
                limit=self.memory,
            )


def too_few_rows(count: int, field: str) -> InvalidInputError:
    """The error for a training set that is too small to train and to evaluate."""
    return InvalidInputError.for_field(field, f"has {count} rows, must have at least {MIN_TRAIN_ROWS}")
