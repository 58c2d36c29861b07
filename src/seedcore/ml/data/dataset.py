"""Turns rows or records into a table of numbers, or says which cells are wrong."""

import math
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import FieldError, InvalidInputError, TooLargeError
from seedcore.ml.data.column_encoder import FLOAT32_MAX, MAX_ERRORS, Floats, abbreviated, to_number
from seedcore.schemas.ml import MIN_TRAIN_ROWS, Column, Label, LabelKind

MIN_ROWS = MIN_TRAIN_ROWS
MIN_ROWS_PER_CLASS = 2
MAX_CLASSES = 256
MAX_COLUMNS = 4096
_MAX_REPORTED = MAX_ERRORS


class CellLocator(Protocol):
    """Names a place in the client's input."""

    def __call__(self, row: int, column: str | None, /) -> tuple[str, str]:
        """(field, prefix of the message) of a cell, or of the whole row when `column` is None."""


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


# `float` also takes `1_000`, digits of other scripts and `infinity`; here those are text.
_CELL = re.compile(r"[ \t]*(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[nN]a[nN])[ \t]*")


def parse_cell(value: object) -> float:
    """A feature's value in a CSV cell; an empty cell is NaN, and so is `nan`."""
    try:
        if not value:
            return math.nan
        if not isinstance(value, str) or not _CELL.fullmatch(value):
            raise ValueError
        return to_number(float(value))
    except ValueError:
        raise ValueError(f"must be a number or empty, not {abbreviated(value)}") from None


def from_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], label_column: str, max_rows: int) -> Table:
    """A table from lists in the order of `columns`."""
    return build_table(columns, rows, label_column, max_rows, lambda i, c: (f"rows.{i}", f"{c}: " if c else ""))


def from_records(records: Sequence[Mapping[str, object]], label_column: str, max_rows: int) -> Table:
    """A table from objects; the first one's keys are the columns, and all others must have the same."""
    if not records:
        raise too_few_rows(0, "dataset")
    columns = list(records[0])
    known = set(columns)
    wrong = []
    for i, record in enumerate(records):
        if record.keys() != known:
            missing, extra = sorted(known - record.keys()), sorted(record.keys() - known)
            wrong.append(
                FieldError(f"dataset.{i}", f"must have the first row's columns; missing: {missing}, unknown: {extra}")
            )
            if len(wrong) == _MAX_REPORTED:
                break
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    rows = ([record[c] for c in columns] for record in records)
    return build_table(
        columns, rows, label_column, max_rows, lambda i, c: (f"dataset.{i}" + (f".{c}" if c else ""), "")
    )


def build_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    label_column: str,
    max_rows: int,
    locate: CellLocator,
    parse: Callable[[object], float] = to_number,
    read_labels: Callable[[list[object]], list[object]] = list,
) -> Table:
    """Check and convert the rows one by one, so that a large file is never held as Python objects.

    Raises:
        InvalidInputError: names the wrong columns, rows or cells.
        TooLargeError: there are more than `max_rows` rows.
    """
    at = _label_position(columns, label_column)
    names = tuple(c for c in columns if c != label_column)
    values, labels, wrong = array("f"), [], list[FieldError]()
    for i, row in enumerate(rows):
        if i >= max_rows:
            raise TooLargeError(f"There are more than {max_rows} rows (SEEDCORE_MAX_TRAIN_ROWS).", limit=max_rows)
        if len(row) != len(columns):
            field, prefix = locate(i, None)
            wrong.append(FieldError(field, f"{prefix}has {len(row)} values, must have {len(columns)}"))
        else:
            labels.append(row[at])
            for name, value in zip(names, (*row[:at], *row[at + 1 :]), strict=True):
                try:
                    values.append(parse(value))
                except ValueError as error:
                    field, prefix = locate(i, name)
                    wrong.append(FieldError(field, f"{prefix}{error}"))
        if len(wrong) >= _MAX_REPORTED:
            break
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    if len(labels) < MIN_ROWS:
        raise too_few_rows(len(labels), locate(0, None)[0].split(".")[0])
    kind, classes, targets = encode_labels(read_labels(labels), lambda i: locate(i, label_column))
    matrix = np.frombuffer(values, dtype=np.float32).reshape(len(labels), len(names))
    return Table(names, matrix, label_column, kind, classes, targets)


def _label_position(columns: Sequence[str], label_column: str) -> int:
    wrong = []
    if len(set(columns)) != len(columns):
        repeated = sorted({c for c in columns if columns.count(c) > 1})
        wrong.append(FieldError("columns", f"must differ from each other; repeated: {repeated}"))
    if len(columns) > MAX_COLUMNS:
        wrong.append(FieldError("columns", f"there may be at most {MAX_COLUMNS}"))
    if any(not c.strip() or len(c) > 200 for c in columns):
        wrong.append(FieldError("columns", "a name has 1 to 200 characters, not only white space"))
    if label_column not in columns:
        known = ", ".join(map(str, columns[:50]))
        wrong.append(FieldError("label_column", f"{label_column!r} is not a column; the columns are: {known}"))
    elif len(columns) < 2:
        wrong.append(FieldError("columns", "there must be at least one feature besides the label"))
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    return columns.index(label_column)


def encode_labels(
    values: Sequence[object], locate: Callable[[int], tuple[str, str]]
) -> tuple[LabelKind, tuple[Label, ...], Floats]:
    """(kind, classes in order, targets). Floats are regression; integers, text and booleans are classes."""
    kinds = [_label_kind(v) for v in values]
    wrong = [
        FieldError(locate(i)[0], f"{locate(i)[1]}a label must be an integer, text, a boolean or a finite number")
        for i, kind in enumerate(kinds)
        if kind is None
    ]
    if wrong:
        raise InvalidInputError.for_fields(wrong[:_MAX_REPORTED])
    kind = "number" if set(kinds) == {"integer", "number"} else kinds[0]
    if kind != "number" and len(set(kinds)) > 1:
        message = f"labels are of different types: {sorted(set(map(str, kinds)))}"
        raise InvalidInputError.for_field("label_column", message)
    if len(set(values)) < 2:
        what = "one value" if kind == "number" else "one class"
        message = f"all labels are {abbreviated(values[0])}: {what} only; at least 2"
        raise InvalidInputError.for_field("label_column", message)
    if kind == "number":
        return kind, (), np.asarray(values, dtype=np.float32)
    assert kind is not None
    return kind, *_classes(values)


def _label_kind(value: object) -> LabelKind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, str):
        return "string"
    if isinstance(value, float) and -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return "number"
    return None


def _classes(values: Sequence[Any]) -> tuple[tuple[Label, ...], Floats]:
    classes = tuple(sorted(set(values)))
    if len(classes) > MAX_CLASSES:
        hint = "" if isinstance(values[0], str) else "; for regression send them as floats (1.0)"
        raise InvalidInputError.for_field("label_column", f"{len(classes)} classes, at most {MAX_CLASSES}{hint}")
    number = {label: i for i, label in enumerate(classes)}
    targets = np.asarray([number[v] for v in values], dtype=np.float32)
    rare = [classes[i] for i in np.flatnonzero(np.bincount(targets.astype(np.int64)) < MIN_ROWS_PER_CLASS)]
    if rare:
        message = f"every class needs at least {MIN_ROWS_PER_CLASS} rows; fewer have: {rare[:10]}"
        raise InvalidInputError.for_field("label_column", message)
    return classes, targets


def too_few_rows(count: int, field: str) -> InvalidInputError:
    """The error for a training set that is too small to train and to evaluate."""
    return InvalidInputError.for_field(field, f"has {count} rows, must have at least {MIN_ROWS}")
