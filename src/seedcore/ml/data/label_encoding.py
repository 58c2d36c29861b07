"""Reads labels: their type decides between classes and a regression."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.data.column_encoder import FLOAT32_MAX, MAX_ERRORS, Floats, abbreviated, is_storable
from seedcore.schemas.ml.models import Label, LabelKind

MIN_ROWS_PER_CLASS = 2
MAX_CLASSES = 256
_KINDS: dict[type, LabelKind] = {bool: "boolean", int: "integer"}
_ALLOWED = (
    "a label must be an integer of 64 bits, text without U+0000 and lone surrogates, a boolean or a finite number"
)


def encode_labels(
    values: Sequence[object], locate: Callable[[int], tuple[str, str]]
) -> tuple[LabelKind, tuple[Label, ...], Floats]:
    """(kind, classes in order, targets). Floats are regression; integers, text and booleans are classes.

    Raises:
        InvalidInputError: names the labels that are none, or says why nothing can be learnt from them.
    """
    kinds = [_label_kind(v) for v in values]
    wrong = [FieldError(locate(i)[0], f"{locate(i)[1]}{_ALLOWED}") for i, kind in enumerate(kinds) if kind is None]
    if wrong:
        raise InvalidInputError.for_fields(wrong[:MAX_ERRORS])
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
    if isinstance(value, str):
        return "string" if is_storable(value) else None
    known = _KINDS.get(type(value))
    if known == "integer" and not -(2**63) <= cast(int, value) < 2**63:
        return None
    if known is None and isinstance(value, float) and -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return "number"
    return known


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
