"""Labelled streams whose world changes: two of scikit-learn's sets with a constructed shift, and one that is real."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

LABEL = "label"
Row = list[object]


@dataclass(frozen=True, slots=True)
class LabelledStream:
    """Rows in the order in which they come.

    Attributes:
        name, what: of the stream, and what its shift is.
        columns: of the rows.
        train: rows with labels (the last value) for the first version.
        later: rows with labels that come as tasks.
        shift: how many of `later` come before the shift; None: the world changes as it does.
    """

    name: str
    what: str
    columns: Sequence[str]
    train: Sequence[Row]
    later: Sequence[Row]
    shift: int | None


def digits(tasks: int, seed: int = 0) -> LabelledStream:
    """Handwritten digits: 900 to train on, the other 897 come again and again; half-way the scanner turns by 90°."""
    from sklearn.datasets import load_digits

    found = load_digits()
    columns = [f"pixel_{place}" for place in range(64)]

    def turn(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.rot90(rows.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)

    what = "images turned by 90 degrees"
    return _constructed("digits", what, columns, found.data, found.target, 900, turn, tasks, seed)


def breast_cancer(tasks: int, seed: int = 0) -> LabelledStream:
    """Breast cancer: 284 to train on, the other 285 come again and again; half-way radii, perimeters and areas are
    measured in another unit (times 1.3), which moves many benign tumours over the learnt limits."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    sizes = [at for at, name in enumerate(found.feature_names) if any(w in name for w in ("radius", "perim", "area"))]

    def other_unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        changed = rows.copy()
        changed[:, sizes] *= 1.3
        return changed

    columns = [str(name) for name in found.feature_names]
    what = "sizes in another unit, times 1.3"
    return _constructed("breast cancer", what, columns, found.data, found.target, 284, other_unit, tasks, seed)


def _constructed(
    name: str,
    what: str,
    columns: Sequence[str],
    data: npt.NDArray[np.float64],
    target: npt.NDArray[np.int64],
    trained_on: int,
    change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    tasks: int,
    seed: int,
) -> LabelledStream:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data))
    train, later = order[:trained_on], order[trained_on:]
    places = np.concatenate([rng.permutation(later) for _ in range(-(-tasks // len(later)))])[:tasks]
    shift = tasks // 2
    rows = data[places].copy()
    rows[shift:] = change(rows[shift:])
    return LabelledStream(
        name, what, columns, _with_labels(data[train], target[train]), _with_labels(rows, target[places]), shift
    )


def _with_labels(rows: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> list[Row]:
    return [[*row, label] for row, label in zip(rows.tolist(), labels.tolist(), strict=True)]


EMPLOYMENT = ("employment_MA_reference.pq", "employment_MA_analysis.pq", "employment_MA_analysis_target.pq")
_NO_FEATURES = {"id", "year", "employed", "prediction", "predicted_probability"}


def employment_folder() -> Path | None:
    """Where an installed `nannyml` keeps its sets (`pip install --no-deps nannyml==0.13.1`); it is not imported."""
    try:
        files = importlib.metadata.files("nannyml") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).parent for file in files if file.name == EMPLOYMENT[0]), None)


def employment(folder: Path, tasks: int, seed: int = 0) -> LabelledStream:
    """Who is employed in Massachusetts, by the US census (American Community Survey), real and in the order of years.

    The first version is trained on 4,000 rows of the reference's years; as many rows of each later year come, in order.
    """
    import pyarrow.parquet

    reference, analysis, target = (pyarrow.parquet.read_table(folder / name) for name in EMPLOYMENT)
    known = dict(zip(target["id"].to_pylist(), target["employed"].to_pylist(), strict=True))
    columns = [name for name in reference.schema.names if name not in _NO_FEATURES]
    rng = np.random.default_rng(seed)
    train_places = np.sort(rng.permutation(reference.num_rows)[:4_000])
    train = reference.take(train_places)
    years = np.array(analysis["year"].to_pylist())
    each = tasks // len(set(years.tolist()))
    chosen = [np.sort(rng.permutation(np.flatnonzero(years == year))[:each]) for year in sorted(set(years.tolist()))]
    later = analysis.take(np.concatenate(chosen))
    labels = [known[place] for place in later["id"].to_pylist()]
    what = f"census, years {min(years)} to {max(years)} in order"
    return LabelledStream(
        "employment",
        what,
        columns,
        _rows_of(train, columns, train["employed"].to_pylist()),
        _rows_of(later, columns, labels),
        None,
    )


def _rows_of(table: object, columns: Sequence[str], labels: Sequence[int]) -> list[Row]:
    values = [table[name].to_pylist() for name in columns]  # type: ignore[index]  # pyarrow has no types
    return [[*row, label] for *row, label in zip(*values, labels, strict=True)]
