"""Makes a table of rows that stream in, so that a large file is never held as Python objects."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Protocol

import numpy as np

from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.data.column_encoder import MAX_ERRORS, Floats, abbreviated, is_storable, to_number
from seedcore.ml.data.column_learning import ColumnLearner, TooManyCategoriesError, Values, parse_cell
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits, too_few_rows
from seedcore.ml.data.label_encoding import encode_labels
from seedcore.schemas.ml.models import MIN_TRAIN_ROWS

MAX_COLUMNS = 4096
CHUNK_ROWS = 4096


class CellLocator(Protocol):
    """Names a place in the client's input."""

    def __call__(self, row: int, column: str | None, /) -> tuple[str, str]:
        """(field, prefix of the message) of a cell, or of the whole row when `column` is None."""


class TableBuilder:
    """Checks and converts rows, a chunk at a time.

    Args:
        columns: names, in the order of each row's values.
        roles: what the columns are for.
        limits: of the rows and of the memory that training would take.
        locate: where a row or cell is in the client's input.
        cells: the values are cells of a CSV file, all text.
        read_labels: gives the labels their types at the end.

    Raises:
        InvalidInputError: names the columns that are wrong; later, the rows or cells.
        TooLargeError: there are more rows, or more values, than the limits allow.
    """

    def __init__(
        self,
        columns: Sequence[str],
        roles: ColumnRoles,
        limits: TrainLimits,
        locate: CellLocator,
        *,
        cells: bool = False,
        read_labels: Callable[[list[object]], list[object]] = list,
    ) -> None:
        _check_columns(columns, roles)
        self.rows = 0
        self._columns, self._roles, self._limits, self._locate = list(columns), roles, limits, locate
        self._cells, self._read_labels = cells, read_labels
        self._learners = {
            name: ColumnLearner(name, category=name in roles.categories, cells=cells)
            for name in columns
            if name not in (roles.label, roles.weight, roles.time)
        }
        self._labels, self._weights, self._times = list[object](), list[Floats](), list[float]()
        self._chunks = list[Floats]()
        self._seen = 0
        self._wrong = list[tuple[int, int, FieldError]]()

    def build(self, rows: Iterable[Sequence[object]]) -> Table:
        """The table of all rows."""
        remaining = iter(rows)
        while chunk := list(islice(remaining, CHUNK_ROWS)):
            self.add_rows(chunk)
        return self.finish()

    def add_rows(self, rows: Sequence[Sequence[object]]) -> None:
        """The next rows."""
        width, places = len(self._columns), range(len(rows))
        if any(len(row) != width for row in rows):
            for i, row in enumerate(rows):
                if len(row) != width:
                    self._row_error(i, f"has {len(row)} values, must have {width}")
            places_left = [i for i in places if len(rows[i]) == width]
            rows = [rows[i] for i in places_left]
            self._add(list(zip(*rows, strict=True)) or [()] * width, places_left, len(places))
        else:
            self._add(list(zip(*rows, strict=True)) or [()] * width, places, len(places))

    def add_columns(self, values: Sequence[Values]) -> None:
        """The next rows, as the values of each column."""
        count = len(values[0])
        self._add(values, range(count), count)

    def _add(self, values: Sequence[Values], places: Sequence[int], count: int) -> None:
        self._limits.check_rows(self._seen + count)
        matrix = np.empty((len(places), len(self._learners)), dtype=np.float32)
        at = 0
        for position, (name, column) in enumerate(zip(self._columns, values, strict=True)):
            if name == self._roles.label:
                self._labels.extend(column.tolist() if isinstance(column, np.ndarray) else column)
            elif name == self._roles.weight:
                self._weights.append(self._checked(column, self._weight, places, position, name))
            elif name == self._roles.time:
                self._times.extend(self._checked(column, self._time, places, position, name, np.float64).tolist())
            else:
                try:
                    matrix[:, at], wrong = self._learners[name].add(column)
                except TooManyCategoriesError as error:
                    field = self._locate(0, None)[0].split(".")[0]
                    raise InvalidInputError.for_field(field, str(error)) from None
                for i, message in wrong[:MAX_ERRORS]:
                    self._cell_error(places[i], position, name, message)
                at += 1
        self._chunks.append(matrix)
        self.rows += len(places)
        self._seen += count
        if len(self._wrong) >= MAX_ERRORS:
            self._raise_wrong()
        self._limits.check_size(self.rows, len(self._columns))

    def _checked(
        self,
        values: Values,
        read: Callable[[object], float],
        places: Sequence[int],
        position: int,
        name: str,
        dtype: type[np.floating] = np.float32,
    ) -> np.ndarray:
        found = np.empty(len(values), dtype=dtype)
        for i, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
            try:
                found[i] = read(value)
            except ValueError as error:
                found[i] = math.nan
                self._cell_error(places[i], position, name, str(error))
        return found

    def _weight(self, value: object) -> float:
        try:
            number = parse_cell(value) if self._cells else to_number(value)
        except ValueError:
            number = math.nan
        if not number >= 0:
            raise ValueError(f"a weight must be a finite number that is not negative, not {abbreviated(value)}")
        return number

    def _time(self, value: object) -> float:
        found = _seconds(value, self._cells)
        if not math.isfinite(found):
            raise ValueError(f"a time must be a finite number or an ISO 8601 time, not {abbreviated(value)}")
        return found

    def finish(self) -> Table:
        """The table."""
        self._raise_wrong()
        source = self._locate(0, None)[0].split(".")[0]
        if self.rows < MIN_TRAIN_ROWS:
            raise too_few_rows(self.rows, source)
        roles = self._roles
        kind, labels, targets = encode_labels(
            self._read_labels(self._labels), lambda i: self._locate(i, self._roles.label)
        )
        matrix = np.empty((self.rows, len(self._learners)), dtype=np.float32)
        end = self.rows
        while self._chunks:
            chunk = self._chunks.pop()
            matrix[end - len(chunk) : end] = chunk
            end -= len(chunk)
        schema = tuple(learner.finish(matrix[:, i]) for i, learner in enumerate(self._learners.values()))
        weights = np.concatenate(self._weights) if roles.weight is not None else None
        if weights is not None and not weights.any():
            raise InvalidInputError.for_field("weight_column", "all weights are 0")
        times = np.array(self._times, dtype=np.float64) if roles.time is not None else None
        return Table(tuple(self._learners), matrix, roles.label, kind, labels, targets, schema, weights, times)

    def _row_error(self, i: int, message: str) -> None:
        field, prefix = self._locate(self._seen + i, None)
        self._wrong.append((self._seen + i, -1, FieldError(field, f"{prefix}{message}")))

    def _cell_error(self, i: int, position: int, name: str, message: str) -> None:
        field, prefix = self._locate(self._seen + i, name)
        self._wrong.append((self._seen + i, position, FieldError(field, f"{prefix}{message}")))

    def _raise_wrong(self) -> None:
        if self._wrong:
            self._wrong.sort(key=lambda found: found[:2])
            raise InvalidInputError.for_fields([error for _, _, error in self._wrong[:MAX_ERRORS]])


def _seconds(value: object, cells: bool) -> float:
    if isinstance(value, str):
        if cells:
            try:
                return parse_cell(value)
            except ValueError:
                pass
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return math.nan
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e300 < value < 1e300:
        return math.nan
    return float(value)


def _check_columns(columns: Sequence[str], roles: ColumnRoles) -> None:
    if len(columns) > MAX_COLUMNS:
        raise InvalidInputError.for_field("columns", f"there may be at most {MAX_COLUMNS}")
    wrong = []
    if len(set(columns)) != len(columns):
        repeated = sorted({c for c in columns if columns.count(c) > 1})
        wrong.append(FieldError("columns", f"must differ from each other; repeated: {repeated[:50]}"))
    if any(not c.strip() or len(c) > 200 or not is_storable(c) for c in columns):
        rule = "a name has 1 to 200 characters, not only white space, without U+0000 and lone surrogates"
        wrong.append(FieldError("columns", rule))
    known = ", ".join(map(str, columns[:50]))
    asked = [("label_column", roles.label), ("weight_column", roles.weight), ("time_column", roles.time)]
    asked += [("category_columns", name) for name in sorted(roles.categories)]
    wrong += [
        FieldError(field, f"{name!r} is not a column; the columns are: {known}")
        for field, name in asked
        if name is not None and name not in columns
    ]
    special = [name for _, name in asked if name is not None]
    if not wrong and len(set(special)) != len(special):
        wrong.append(FieldError("label_column", "a column has one role: label, weight, time or category"))
    elif not wrong and len(columns) <= sum(name is not None for _, name in asked[:3]):
        wrong.append(FieldError("columns", "there must be at least one feature besides the label"))
    if wrong:
        raise InvalidInputError.for_fields(wrong[:MAX_ERRORS])
