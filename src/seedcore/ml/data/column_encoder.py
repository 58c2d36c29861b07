"""Encodes values for a model by its columns: numbers, booleans and categories, one documented rule for each oddity.

| value | rule |
|---|---|
| null, NaN | missing |
| an infinity, or what no 32-bit float holds | an error |
| a column that is missing or unknown | an error (a value may be null) |
| a number, boolean or null in a column of numbers | allowed; text is an error |
| true, false, 1, 0 or null in a column of booleans | allowed; all else is an error |
| text, an integer or a boolean in a column of categories | its category; fractions and all else are an error |
| a category that training did not see | missing, with a warning |

The same rules read training sets, so a model is asked what it was trained on.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import FieldError, InvalidInputError
from seedcore.schemas.ml.models import Column, Features

FLOAT32_MAX = float(np.finfo(np.float32).max)
MAX_ERRORS = 20
"""The most errors, and the most warnings, that one row or training set names."""

Floats = NDArray[np.float32]

_PLAIN = frozenset({int, float, bool, type(None)})


def to_number(value: object) -> float:
    """A number's value as a float; null is NaN.

    Raises:
        ValueError: the message says what is allowed.
    """
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)):
        raise ValueError(f"must be a number, a boolean or null, not {abbreviated(value)}")
    if value != value:
        return math.nan
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        raise ValueError("must be finite and fit a 32-bit float")
    return float(value)


def to_boolean(value: object) -> float:
    """A boolean's value as 1.0 or 0.0; null is NaN.

    Raises:
        ValueError: the message says what is allowed.
    """
    if value is None or value != value:
        return math.nan
    if not isinstance(value, (int, float)) or value not in (0, 1):
        raise ValueError(f"must be true, false, 1, 0 or null, not {abbreviated(value)}")
    return float(value)


def to_category(value: object) -> str | None:
    """A category's text: text as it is, integers in decimals, `true` and `false`; None: it is missing.

    Raises:
        ValueError: the message says what is allowed.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -(10**18) < value < 10**18:
        return str(value)
    raise ValueError(f"must be text, an integer, a boolean or null, not {abbreviated(value)}")


def is_storable(text: str) -> bool:
    """Whether JSON in UTF-8 and PostgreSQL can hold a text: it has no U+0000 and no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def abbreviated(value: object) -> str:
    """A value for a message, at most 40 characters long."""
    text = repr(value) if not isinstance(value, int) or -(10**30) < value < 10**30 else "an integer of many digits"
    return text if len(text) <= 40 else text[:37] + "..."


def plain_numbers(values: Sequence[object]) -> Floats | None:
    """`to_number` of many values at once; None when one of them needs a closer look."""
    if not _PLAIN.issuperset(map(type, values)):
        return None
    try:
        # None becomes NaN here.
        exact = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    with np.errstate(invalid="ignore"):
        return None if bool(np.any(np.abs(exact) > FLOAT32_MAX)) else exact.astype(np.float32)


def _finite_numbers(rows: Sequence[Sequence[Any]]) -> Floats | None:
    """All values of all rows, one after the other; None when one of them is no number, or needs a closer look."""
    try:
        # An array of C's doubles takes neither text nor null, and is filled faster than any check of types runs.
        values = array("d")
        for row in rows:
            # Twice as fast as extending by the row itself.
            values.extend(array("d", row))
        exact = np.frombuffer(values)
    except (TypeError, OverflowError):
        return None
    return exact.astype(np.float32) if np.abs(exact).max(initial=0.0) <= FLOAT32_MAX else None


def feature_types(columns: Iterable[Column]) -> list[str] | None:
    """XGBoost's types of the columns: `c` for categories, `q` for numbers; None when there are numbers alone."""
    types = ["c" if column.type == "category" else "q" for column in columns]
    return types if "c" in types else None


@dataclass(slots=True)
class EncodedRows:
    """Many rows, encoded.

    Attributes:
        matrix: (n, d) of the rows that fit, NaN where a value is missing.
        places: (n,) which row of the input each is.
        errors: of the rows that do not fit, by their place in the input.
        warnings: categories that training did not see, by their row's place in the input.
    """

    matrix: Floats
    places: list[int]
    errors: dict[int, InvalidInputError] = field(default_factory=dict)
    warnings: dict[int, list[FieldError]] = field(default_factory=dict)


class ColumnEncoder:
    """Encodes rows for one model.

    Args:
        names: its features, in order.
        columns: what is known of each, in the same order; empty: all are numbers, as in models of earlier releases.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[Column] = ()) -> None:
        self.names = tuple(names)
        self.columns = tuple(columns) or tuple(Column(name=name) for name in names)
        self._positions = {name: i for i, name in enumerate(self.names)}
        self._codes = [
            {category: float(code) for code, category in enumerate(column.categories or ())}
            if column.type == "category"
            else None
            for column in self.columns
        ]
        self._booleans = [column.type == "boolean" for column in self.columns]
        self._known = ", ".join(self.names[:50])
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else None
        self.numeric = not any(self._booleans) and all(codes is None for codes in self._codes)

    def row(self, features: Features, where: str = "features") -> tuple[list[float], list[FieldError]]:
        """(one row in the model's order, NaN where a value is missing; warnings about categories it does not know).

        Raises:
            InvalidInputError: names the columns that are missing, unknown or of a wrong type.
        """
        row, wrong, warnings = list[float](), list[FieldError](), list[FieldError]()
        for i, value in enumerate(self._values(features, where)):
            try:
                row.append(self._one(i, value))
            except KeyError:
                row.append(math.nan)
                warnings.append(self._unseen(i, value, where))
            except ValueError as error:
                wrong.append(FieldError(f"{where}.{self.names[i]}", str(error)))
        if wrong:
            raise InvalidInputError.for_fields(wrong[:MAX_ERRORS])
        return row, warnings[:MAX_ERRORS]

    def rows(self, rows: Sequence[Features], where: str = "features") -> EncodedRows:
        """Many rows, by column where all are plain; a row that does not fit has its error and affects no other."""
        matrix = self._by_column(rows)
        if matrix is not None:
            return EncodedRows(matrix, list(range(len(rows))))
        found, vectors = EncodedRows(np.empty((0, len(self.names)), dtype=np.float32), []), list[list[float]]()
        for i, features in enumerate(rows):
            try:
                vector, warnings = self.row(features, where)
            except InvalidInputError as error:
                found.errors[i] = error
                continue
            vectors.append(vector)
            found.places.append(i)
            if warnings:
                found.warnings[i] = warnings
        if vectors:
            found.matrix = np.array(vectors, dtype=np.float32)
        return found

    def _by_column(self, rows: Sequence[Features]) -> Floats | None:
        """The matrix, or None when a row or value needs a closer look."""
        width = len(self.names)
        if not rows or any(len(row) != width for row in rows):
            return None
        try:
            ordered = [
                (self._pick(row) if self._pick else (row[self.names[0]],)) if isinstance(row, dict) else row
                for row in rows
            ]
        except KeyError:
            return None
        if self.numeric and (numbers := _finite_numbers(ordered)) is not None:
            return numbers.reshape(len(rows), width)
        matrix = np.empty((len(rows), width), dtype=np.float32)
        for i, values in enumerate(zip(*ordered, strict=True)):
            codes = self._codes[i]
            if codes is not None:
                if {str, type(None)}.issuperset(map(type, values)) and all(v is None or v in codes for v in values):
                    matrix[:, i] = [math.nan if v is None else codes[v] for v in values]
                    continue
                return None
            numbers = plain_numbers(values)
            if numbers is None or (self._booleans[i] and not all(v is None or v != v or v in (0, 1) for v in values)):
                return None
            matrix[:, i] = numbers
        return matrix

    def _values(self, features: Features, where: str) -> Sequence[object]:
        if not isinstance(features, Mapping):
            if len(features) != len(self.names):
                message = f"has {len(features)} values, the model takes {len(self.names)}"
                raise InvalidInputError.for_field(where, message)
            return features
        missing = ((n, "is missing (null is allowed)") for n in self.names if n not in features)
        unknown = (
            (n, f"is unknown to the model; it takes: {self._known}") for n in features if n not in self._positions
        )
        if wrong := [FieldError(f"{where}.{n}", why) for n, why in islice(chain(missing, unknown), MAX_ERRORS)]:
            raise InvalidInputError.for_fields(wrong)
        return [features[n] for n in self.names]

    def _one(self, i: int, value: object) -> float:
        codes = self._codes[i]
        if codes is not None:
            text = to_category(value)
            return math.nan if text is None else codes[text]
        return to_boolean(value) if self._booleans[i] else to_number(value)

    def _unseen(self, i: int, value: object, where: str) -> FieldError:
        message = f"{abbreviated(value)} is a category that training did not see; it counts as missing"
        return FieldError(f"{where}.{self.names[i]}", message)
