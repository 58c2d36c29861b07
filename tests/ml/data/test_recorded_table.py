"""Recorded predictions with their outcomes, in a real PostgreSQL."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import numpy as np
import pytest

from seedcore.errors import InvalidInputError, NotFoundError
from seedcore.ml.data.dataset import Table, TrainLimits
from seedcore.ml.data.recorded_table import recorded_table
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.schemas.ml.models import Column
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


def manifest(version: int, colours: list[str], features: tuple[str, ...] = ("size", "colour")) -> ModelManifest:
    columns = [Column(name="size"), Column(name="colour", type="category", categories=colours)]
    return ModelManifest(
        name="m",
        version=version,
        created_at=datetime.now(UTC),
        task="binary",
        features=list(features),
        label_column="kind",
        label_kind="string",
        labels=["a", "b"],
        params={},
        metrics={},
        n_rows=1,
        sha256="",
        size_bytes=0,
        xgboost_version="",
        columns=columns[: len(features)],
    )


KNOWN = {1: manifest(1, ["blue", "red"]), 2: manifest(2, ["green", "red"]), 4: manifest(4, [], ("size",))}


def manifest_of(_name: str, version: int) -> ModelManifest:
    if version not in KNOWN:
        raise NotFoundError("gone")
    return KNOWN[version]


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings, size=1)
    yield made
    await made.aclose()


async def record(database: Database, version: int, features: list, label: object, tenant: str = "default") -> None:
    async with database.connection() as connection:
        task = await connection.fetchval(
            "insert into seedcore.predictions (task_id, tenant, name, version, answer, features, seconds)"
            " values (gen_random_uuid(), $1, 'm', $2, '{}', $3, 0) returning task_id",
            tenant,
            version,
            features,
        )
        if label is not None:
            await connection.execute(
                "insert into seedcore.outcomes (task_id, tenant, name, label) values ($1, $2, 'm', $3)",
                task,
                tenant,
                json.dumps(label),
            )


async def table_of(database: Database, rows: int = 100, **given) -> Table:
    async with database.connection() as connection:
        return await recorded_table(connection, "m", manifest_of, rows=rows, limits=TrainLimits(1000), **given)


async def test_rows_are_what_was_asked_with_what_was_true_oldest_first(database: Database):
    for n in range(12):
        await record(database, 1, [float(n), 1.0], "ab"[n % 2])
    await record(database, 2, [12.0, 1.0], "b")
    await record(database, 2, [13.0, 0.0], "a")
    await record(database, 2, [14.0, None], "a")
    table = await table_of(database)
    assert table.columns == ("size", "colour")
    assert table.matrix[:, 0].tolist() == [float(n) for n in range(15)]
    # The same number meant another colour to the first version.
    assert table.schema[1].categories == ["green", "red"]
    assert table.matrix[11:14, 1].tolist() == [1, 1, 0]
    assert np.isnan(table.matrix[14, 1])
    assert table.times is not None
    assert (np.diff(table.times) > 0).all()
    assert (table.label_column, table.labels) == ("kind", ("a", "b"))


async def test_what_does_not_fit_is_left_out(database: Database):
    for n in range(12):
        await record(database, 1, [float(n), 1.0], "ab"[n % 2])
    await record(database, 1, [100.0, 0.0], 7)  # a label of another type
    await record(database, 1, [101.0, 0.0], None)  # no outcome yet
    await record(database, 3, [102.0, 0.0], "a")  # a version that is gone
    await record(database, 1, [103.0], "a")  # values are missing
    assert (await table_of(database)).matrix[:, 0].max() == 11


async def test_the_newest_rows_of_a_tenant_are_taken(database: Database):
    for n in range(24):
        await record(database, 1, [float(n), 1.0], "ab"[n // 2 % 2], "acme" if n % 2 else "default")
    assert (await table_of(database, 10)).matrix[:, 0].tolist() == [float(n) for n in range(14, 24)]
    assert (await table_of(database, tenant="acme")).matrix[:, 0].tolist() == [float(n) for n in range(1, 24, 2)]


async def test_nothing_recorded_is_said(database: Database):
    with pytest.raises(InvalidInputError, match="no recorded prediction"):
        await table_of(database)
