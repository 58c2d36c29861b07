"""The data sets that scikit-learn ships, as training sets: `bundled:NAME`."""

import importlib
import importlib.util
from typing import Any

from seedcore.errors import InvalidInputError, NotConfiguredError
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.dataset_builder import TableBuilder
from seedcore.telemetry.lean_imports import nothing_hidden

PREFIX = "bundled:"
NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
_MISSING = "Bundled sets are scikit-learn's: install the extra `demo` (`pip install seedcore[demo]`)."
LABEL = "target"
"""The column of the labels: text for classes of `breast_cancer`, `iris` and `wine`, integers for `digits`, a number for
`diabetes`."""


def load_bundled(source: str, roles: ColumnRoles, limits: TrainLimits) -> Table:
    """The table of a bundled set; the label's column is `target`.

    Raises:
        InvalidInputError: there is no such set, or its columns are others.
        NotConfiguredError: scikit-learn is not installed.
    """
    columns, rows = bundled_rows(bundled_name(source))
    return TableBuilder(
        columns, roles, limits, lambda i, c: ("data_source", f"row {i}, {c}: " if c else f"row {i} ")
    ).build(rows)


def bundled_name(source: str) -> str:
    """The set's name in a `data_source`.

    Raises:
        InvalidInputError: there is no such set.
        NotConfiguredError: scikit-learn is not installed.
    """
    name = source.removeprefix(PREFIX)
    if name not in NAMES:
        known = ", ".join(PREFIX + known for known in NAMES)
        raise InvalidInputError.for_field("data_source", f"there is no such set; there are: {known}")
    with nothing_hidden():
        if importlib.util.find_spec("sklearn") is None:
            raise NotConfiguredError(_MISSING)
    return name


def bundled_rows(name: str) -> tuple[list[str], list[list[object]]]:
    """(columns, the label's last; rows) of a set.

    Raises:
        NotConfiguredError: scikit-learn is not installed.
    """
    try:
        with nothing_hidden():
            sets: Any = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise NotConfiguredError(_MISSING) from None
    found = getattr(sets, f"load_{name}")()
    names = [str(feature) for feature in found.feature_names]
    targets: list[Any] = found.target.tolist()
    if name not in ("diabetes", "digits"):
        classes = [str(label) for label in found.target_names]
        targets = [classes[code] for code in targets]
    return [*names, LABEL], [[*row, target] for row, target in zip(found.data.tolist(), targets, strict=True)]
