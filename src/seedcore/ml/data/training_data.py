"""Reads the training set that a request names, from wherever it is."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from seedcore.ml.data import bundled_sets, dataset_files, inline_rows
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.history_query import checked_select
from seedcore.ml.data.history_rows import history_table
from seedcore.ml.data.recorded_table import recorded_table
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.schemas.ml.models import HistorySource, RecordedSource, TrainRequest
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A training set, and where it comes from: see `Lineage`."""

    table: Table
    source: str
    query: str | None = None


def roles_of(request: TrainRequest) -> ColumnRoles:
    """What the request's columns are for."""
    return ColumnRoles(
        request.label_column, request.weight_column, request.time_column, frozenset(request.category_columns)
    )


def read_local(request: TrainRequest, settings: Settings) -> TrainingData:
    """The training set of a request whose data is in it, in a file or bundled.

    Raises:
        InvalidInputError: names the columns or cells that are wrong.
        NotFoundError: there is no such file.
        NotConfiguredError: a library is missing.
        TooLargeError: there are too many rows, or training would take too much memory.
    """
    roles, limits, source = roles_of(request), TrainLimits.of(settings), request.data_source
    if request.dataset is not None:
        return TrainingData(inline_rows.from_records(request.dataset, roles, limits), "rows")
    if request.rows is not None and request.columns is not None:
        return TrainingData(inline_rows.from_rows(request.columns, request.rows, roles, limits), "rows")
    assert isinstance(source, str)
    if source.startswith(bundled_sets.PREFIX):
        return TrainingData(bundled_sets.load_bundled(source, roles, limits), "bundled", source)
    return TrainingData(dataset_files.load_file(settings.datasets_dir, source, roles, limits), "file", source)


async def read_data(
    request: TrainRequest,
    settings: Settings,
    database: Database,
    manifest_of: Callable[[str, int], ModelManifest],
    tenant: str,
) -> TrainingData:
    """The training set of any request; `tenant` is whose history and predictions are read.

    Raises:
        InvalidInputError: see `read_local`; or the query is not allowed.
        DeadlineError: the query took too long.
        UnavailableError: the database does not answer.
    """
    roles, limits, source = roles_of(request), TrainLimits.of(settings), request.data_source
    if isinstance(source, HistorySource):
        table = await history_table(database, source.sql, tenant, roles, limits, settings.history_query_s)
        return TrainingData(table, "history", source.sql)
    if isinstance(source, RecordedSource):
        async with database.connection() as connection:
            table = await recorded_table(
                connection,
                source.recorded,
                manifest_of,
                rows=source.rows,
                tenant=tenant,
                label_column=request.label_column,
                limits=limits,
            )
        return TrainingData(table, "predictions", source.recorded)
    return await asyncio.to_thread(read_local, request, settings)


def check_source(request: TrainRequest, settings: Settings) -> None:
    """Check what can be known of a data source before it is read.

    Raises:
        InvalidInputError: the query, the name of a file or of a set is not allowed.
        NotFoundError: there is no such file.
        NotConfiguredError: a library is missing.
    """
    source = request.data_source
    if isinstance(source, HistorySource):
        checked_select(source.sql)
    elif isinstance(source, str) and source.startswith(bundled_sets.PREFIX):
        bundled_sets.bundled_name(source)
    elif isinstance(source, str):
        dataset_files.find_file(settings.datasets_dir, source)
