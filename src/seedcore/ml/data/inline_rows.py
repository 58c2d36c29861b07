"""Training sets that come in a request, as lists or as objects."""

from collections.abc import Mapping, Sequence

from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.data.column_encoder import MAX_ERRORS
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits, too_few_rows
from seedcore.ml.data.dataset_builder import TableBuilder


def from_rows(
    columns: Sequence[str], rows: Sequence[Sequence[object]], roles: ColumnRoles, limits: TrainLimits
) -> Table:
    """A table from lists in the order of `columns`; see `TableBuilder` for what it raises."""
    limits.check_rows(len(rows))
    builder = TableBuilder(columns, roles, limits, lambda i, c: (f"rows.{i}", f"{c}: " if c else ""))
    limits.check_size(len(rows), len(columns))
    return builder.build(rows)


def from_records(records: Sequence[Mapping[str, object]], roles: ColumnRoles, limits: TrainLimits) -> Table:
    """A table from objects; the first one's keys are the columns, and all others must have the same."""
    if not records:
        raise too_few_rows(0, "dataset")
    limits.check_rows(len(records))
    columns = list(records[0])
    known = set(columns)
    wrong = []
    for i, record in enumerate(records):
        if record.keys() != known:
            missing, extra = sorted(known - record.keys()), sorted(record.keys() - known)
            wrong.append(
                FieldError(f"dataset.{i}", f"must have the first row's columns; missing: {missing}, unknown: {extra}")
            )
            if len(wrong) == MAX_ERRORS:
                break
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    builder = TableBuilder(columns, roles, limits, lambda i, c: (f"dataset.{i}" + (f".{c}" if c else ""), ""))
    limits.check_size(len(records), len(columns))
    return builder.build([record[c] for c in columns] for record in records)
