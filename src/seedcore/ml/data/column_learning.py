"""Learns one feature column while its values stream in: its type, its categories, its numbers."""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from seedcore.ml.data.column_encoder import (
    FLOAT32_MAX,
    Floats,
    abbreviated,
    is_storable,
    plain_numbers,
    to_category,
    to_number,
)
from seedcore.schemas.ml.models import Column

MAX_CATEGORIES = 1000
MAX_CATEGORY_LENGTH = 200

# `float` also takes `1_000`, digits of other scripts and `infinity`; here those are text.
_NUMBER = r"[ \t]*(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[nN]a[nN])[ \t]*"
_CELL = re.compile(_NUMBER)
_CELLS = re.compile(rf"(?:(?:{_NUMBER})?\n)*")

Values = Sequence[object] | NDArray[np.generic]
CellError = tuple[int, str]
"""(place in the values that were given, what is wrong there)."""


class TooManyCategoriesError(ValueError):
    """A column of text holds more different texts than a column of categories may."""


def parse_cell(value: object) -> float:
    """A number in a CSV cell; an empty cell is NaN, and so is `nan`.

    Raises:
        ValueError: the message says what is allowed.
    """
    try:
        if not value:
            return math.nan
        if not isinstance(value, str) or not _CELL.fullmatch(value):
            raise ValueError
        return to_number(float(value))
    except ValueError:
        raise ValueError(f"must be a number or empty, not {abbreviated(value)}") from None


def _cell_category(value: object) -> str | None:
    return None if is_missing_cell(value) else str(value)


def is_missing_cell(value: object) -> bool:
    """Whether a CSV cell is empty, or `nan`."""
    return not value or str(value).strip(" \t").lower() == "nan"


def _is_missing(value: object) -> bool:
    return value is None or value != value


class ColumnLearner:
    """One feature column.

    The first value that is not missing decides: text makes a column of categories, all else one of numbers. What holds
    booleans alone is a column of booleans in the end.

    Args:
        name: of the column.
        category: it is one of categories, whatever its values look like.
        cells: its values are cells of a CSV file, all text: what looks like a number is one, and empty is missing.
    """

    def __init__(self, name: str, *, category: bool = False, cells: bool = False) -> None:
        self.name = name
        self.category: bool | None = True if category else None
        self._cells = cells
        self._booleans = not cells
        self._codes: dict[str, int] = {}

    def add(self, values: Values) -> tuple[Floats, list[CellError]]:
        """(the numbers of the next values, NaN where one is missing or wrong; what is wrong).

        Categories have the numbers of their first appearance until `finish`.

        Raises:
            TooManyCategoriesError: see MAX_CATEGORIES.
        """
        if isinstance(values, np.ndarray) and not self.category and values.dtype.kind in "iuf":
            self.category, self._booleans = False, False
            if (found := _bounded(values)) is not None:
                return found, []
        plain: Sequence[object] = values.tolist() if isinstance(values, np.ndarray) else values
        if self.category is None:
            self._decide(plain)
        return self._categories(plain) if self.category else self._numbers(plain)

    def _decide(self, values: Sequence[object]) -> None:
        missing = is_missing_cell if self._cells else _is_missing
        first = next((value for value in values if not missing(value)), None)
        if first is not None:
            self.category = isinstance(first, str) and not (self._cells and _CELL.fullmatch(first))

    def _numbers(self, values: Sequence[object]) -> tuple[Floats, list[CellError]]:
        if self._cells:
            plain = _plain_cells(values)
        else:
            plain = plain_numbers(values)
            self._booleans = self._booleans and all(v is None or isinstance(v, bool) or v != v for v in values)
        if plain is not None:
            return plain, []
        return _one_by_one(values, parse_cell if self._cells else to_number)

    def _categories(self, values: Sequence[object]) -> tuple[Floats, list[CellError]]:
        read = _cell_category if self._cells else to_category
        return _one_by_one(values, lambda value: self._code(read(value)))

    def _code(self, text: str | None) -> float:
        if text is None:
            return math.nan
        code = self._codes.get(text)
        if code is None:
            if len(text) > MAX_CATEGORY_LENGTH:
                raise ValueError(f"a category has at most {MAX_CATEGORY_LENGTH} characters, this one has {len(text)}")
            if not is_storable(text):
                raise ValueError("a category is text without U+0000 and lone surrogates")
            if len(self._codes) >= MAX_CATEGORIES:
                raise TooManyCategoriesError(
                    f"{self.name}: more than {MAX_CATEGORIES} different texts; a column of categories has at most that "
                    "many: leave it out, or group its values"
                )
            code = self._codes[text] = len(self._codes)
        return float(code)

    def finish(self, numbers: Floats) -> Column:
        """What is known of the column; `numbers` are all that `add` gave, and get the codes of sorted categories."""
        missing = int(np.count_nonzero(np.isnan(numbers)))
        if self.category:
            ordered = sorted(self._codes)
            number_of = np.empty(len(ordered) + 1, dtype=np.float32)
            number_of[[self._codes[text] for text in ordered]] = np.arange(len(ordered))
            number_of[-1] = math.nan
            numbers[:] = number_of[np.nan_to_num(numbers, nan=len(ordered)).astype(np.int64)]
            return Column(name=self.name, type="category", categories=ordered, missing=missing)
        if missing == len(numbers):
            return Column(name=self.name, missing=missing)
        kind = "boolean" if self._booleans and self.category is not None else "number"
        return Column(
            name=self.name,
            type=kind,
            low=float(np.nanmin(numbers)),
            high=float(np.nanmax(numbers)),
            missing=missing,
        )


def _one_by_one(values: Sequence[object], read: Callable[[object], float]) -> tuple[Floats, list[CellError]]:
    found, wrong = [], list[CellError]()
    for i, value in enumerate(values):
        try:
            found.append(read(value))
        except TooManyCategoriesError:
            raise
        except ValueError as error:
            found.append(math.nan)
            wrong.append((i, str(error)))
    return np.array(found, dtype=np.float32), wrong


def _bounded(values: NDArray[np.generic]) -> Floats | None:
    exact = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return None if bool(np.any(np.abs(exact) > FLOAT32_MAX)) else exact.astype(np.float32)


def _plain_cells(values: Sequence[object]) -> Floats | None:
    """`parse_cell` of many cells at once; None when one of them needs a closer look."""
    cells = [str(value) for value in values]
    if _CELLS.fullmatch("\n".join(cells) + "\n") is None or any("\n" in cell for cell in cells):
        return None
    return _bounded(np.array([float(cell) if cell else math.nan for cell in cells]))
