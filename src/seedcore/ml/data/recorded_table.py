"""Makes a training set of recorded predictions: what `ml.predict` tasks asked a model, with what was true of them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import numpy as np
import orjson

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.dataset_builder import TableBuilder
from seedcore.ml.data.label_encoding import MIN_ROWS_PER_CLASS
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.schemas.ml.models import Column, LabelKind

TIME = "recorded at"
"""The column that orders the rows; it is no feature."""

_NEWEST = """
select p.seq, p.version, p.features, o.label
from seedcore.predictions p join seedcore.outcomes o on o.task_id = p.task_id
where p.name = $1 and p.seq > $2 and ($3::text is null or p.tenant = $3)
order by p.seq desc limit $4
"""


async def recorded_table(
    connection: asyncpg.Connection,
    name: str,
    manifest_of: Callable[[str, int], ModelManifest],
    *,
    rows: int,
    limits: TrainLimits,
    label_column: str | None = None,
    tenant: str | None = None,
    after: int = 0,
) -> Table:
    """The newest `rows` predictions of model `name` whose outcome is known, oldest first, with their order as times.

    Rows of versions with other features, or with labels of another type, than the newest of those versions are left
    out, and so are classes of a single row. A category that the version did not know is missing in its row.

    Args:
        manifest_of: (name, version) -> manifest; versions that it has none for are left out.
        label_column: the label's name; that of the newest version when None.
        tenant: whose predictions; None: those of all.
        after: only predictions with a greater `seq`.

    Raises:
        InvalidInputError: nothing fits, or there are too few rows to learn from.
        TooLargeError: training would take too much memory.
    """
    limits.check_rows(rows)
    found = await connection.fetch(_NEWEST, name, after, tenant, rows)
    return await asyncio.to_thread(_table_of, found, name, manifest_of, label_column, limits)


def _table_of(
    found: Sequence[asyncpg.Record],
    name: str,
    manifest_of: Callable[[str, int], ModelManifest],
    label_column: str | None,
    limits: TrainLimits,
) -> Table:
    manifests = _manifests(name, sorted({row["version"] for row in found}, reverse=True), manifest_of)
    if not manifests:
        message = f"there is no recorded prediction of model {name!r} with an outcome"
        raise InvalidInputError.for_field("data_source.recorded", message)
    newest = manifests[max(manifests)]
    categories = frozenset(column.name for column in newest.columns if column.type == "category")
    readers = {version: _reader(manifest) for version, manifest in manifests.items()}
    kept = list[list[object]]()
    for row in reversed(found):
        read = readers.get(row["version"])
        label = _label(orjson.loads(row["label"]), newest.label_kind)
        if read is not None and label is not None and len(row["features"]) == len(newest.features):
            kept.append([*read(row["features"]), label, row["seq"]])
    if newest.label_kind != "number":
        counts = Counter(row[-2] for row in kept)
        kept = [row for row in kept if counts[row[-2]] >= MIN_ROWS_PER_CLASS]
    label_name = label_column or newest.label_column
    builder = TableBuilder(
        [*newest.features, label_name, TIME],
        ColumnRoles(label_name, time=TIME, categories=categories),
        limits,
        lambda i, c: ("data_source", f"recorded row {i}, {c}: " if c else f"recorded row {i} "),
    )
    return builder.build(kept)


def _manifests(
    name: str, versions: Sequence[int], manifest_of: Callable[[str, int], ModelManifest]
) -> dict[int, ModelManifest]:
    found = dict[int, ModelManifest]()
    for version in versions:
        try:
            manifest = manifest_of(name, version)
        except (NotFoundError, ConflictError):
            continue
        first = next(iter(found.values()), manifest)
        if (manifest.features, manifest.label_kind) == (first.features, first.label_kind):
            found[version] = manifest
    return found


def _reader(manifest: ModelManifest) -> Callable[[Sequence[float | None]], list[object]]:
    """What gives values of a recorded row as they were asked: texts for the numbers of categories."""
    columns = manifest.columns or [Column(name=name) for name in manifest.features]
    texts = [column.categories if column.type == "category" else None for column in columns]
    booleans = [column.type == "boolean" for column in columns]

    def value(number: float | None, categories: list[str] | None, boolean: bool) -> object:
        if number is None or not np.isfinite(number):
            return None
        if categories is not None:
            return categories[int(number)] if 0 <= number < len(categories) else None
        return bool(number) if boolean else number

    def read(features: Sequence[float | None]) -> list[object]:
        return [value(*given) for given in zip(features, texts, booleans, strict=True)]

    return read


def _label(label: Any, kind: LabelKind) -> object:
    """The label as training wants it; None when it is of another type."""
    if kind == "number":
        return float(label) if isinstance(label, (int, float)) and not isinstance(label, bool) else None
    wanted: dict[str, type] = {"integer": int, "string": str, "boolean": bool}
    return label if type(label) is wanted[kind] else None
