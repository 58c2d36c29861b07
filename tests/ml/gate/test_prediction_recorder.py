"""The recorder: beside the path, in time, bounded, and honest about what it lost."""

import asyncio
import json
import time
from uuid import uuid4

import pytest

from seedcore.ml.gate.prediction_recorder import CAPACITY, PredictionRecorder
from seedcore.ml.gate.recorded_predictions import MAX_FEATURES
from seedcore.ml.predicting.prediction_row import ModelAnswer, PredictionRow
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database

NAN = float("nan")


def prediction(**changes: object) -> PredictionRow:
    values: dict[str, object] = {
        "task_id": str(uuid4()),
        "tenant": "default",
        "name": "iris",
        "version": 1,
        "answer": ModelAnswer(1),
        "features": [1.0, NAN, 1e300, 1e-300],
        "seconds": 0.001,
    }
    return PredictionRow(**(values | changes))  # type: ignore[arg-type]


async def rows(database: Database) -> list[dict[str, object]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch("select * from seedcore.predictions order by seq")]


async def until(database: Database, number: int) -> list[dict[str, object]]:
    async with asyncio.timeout(10):
        while len(found := await rows(database)) < number:
            await asyncio.sleep(0.01)
    return found


async def test_a_prediction_is_in_the_table_soon_and_its_caller_does_not_wait(pg_settings: Settings):
    database = Database(pg_settings, size=2)
    recorder = PredictionRecorder(database)
    shadow = prediction(
        promotion=str(uuid4()),
        candidate=2,
        candidate_answer=ModelAnswer("b", {"a": 0.25, "b": 0.75}),
        candidate_seconds=0.002,
    )
    await rows(database)
    began = time.perf_counter()
    recorder.record(prediction())
    recorder.record(shadow)
    assert time.perf_counter() - began < 0.02
    first, second = await until(database, 2)
    await recorder.aclose()
    assert first["features"] == [1.0, None, pytest.approx(3.4e38), 0.0]
    assert json.loads(str(first["answer"])) == {"prediction": 1, "probabilities": None}
    assert first["candidate"] is None
    assert (str(second["promotion"]), second["candidate"]) == (shadow.promotion, 2)
    assert json.loads(str(second["candidate_answer"])) == {
        "prediction": "b",
        "probabilities": {"a": 0.25, "b": 0.75},
    }
    assert recorder.status() == {"waiting": 0, "written": 2, "dropped": 0, "refused": 0, "failing": None}
    await database.aclose()


async def test_closing_writes_what_waits_and_a_task_that_ran_twice_has_one_row(pg_settings: Settings):
    database = Database(pg_settings, size=2)
    recorder, task = PredictionRecorder(database), str(uuid4())
    for version in (1, 2):
        recorder.record(prediction(task_id=task, version=version))
    await recorder.aclose()
    assert [row["version"] for row in await rows(database)] == [1]
    await database.aclose()


async def test_a_row_that_cannot_be_stored_costs_no_other(pg_settings: Settings):
    database = Database(pg_settings, size=2)
    recorder = PredictionRecorder(database)
    for label in ("a", "\0", NAN, "b"):
        recorder.record(prediction(answer=ModelAnswer(label)))
    recorder.record(prediction(features=[0.0] * (MAX_FEATURES + 1)))
    await recorder.aclose()
    assert [json.loads(str(row["answer"]))["prediction"] for row in await rows(database)] == ["a", "b"]
    status = recorder.status()
    assert (status["written"], status["refused"], status["dropped"]) == (2, 3, 0)
    await database.aclose()


async def test_it_waits_for_a_database_that_is_away_within_its_bound(pg_settings: Settings):
    away = Database(load_settings(data_dir=pg_settings.data_dir, pg_dsn="postgresql://x@127.0.0.1:1/none"), size=1)
    recorder = PredictionRecorder(away, capacity=3)
    made = [prediction() for _ in range(5)]
    for one in made:
        recorder.record(one)
    async with asyncio.timeout(10):
        while recorder.status()["failing"] is None:
            await asyncio.sleep(0.01)
    assert recorder.status()["dropped"] == 2
    recorder._database = database = Database(pg_settings, size=2)
    assert {str(row["task_id"]) for row in await until(database, 3)} == {one.task_id for one in made[2:]}
    async with asyncio.timeout(10):
        while recorder.status()["failing"] is not None:
            await asyncio.sleep(0.01)
    await recorder.aclose()
    await database.aclose()
    await away.aclose()


async def test_thousands_are_written_in_few_statements(pg_settings: Settings):
    database = Database(pg_settings, size=2)
    recorder = PredictionRecorder(database)
    for _ in range(3_000):
        recorder.record(prediction())
    assert CAPACITY > 3_000
    await recorder.aclose()
    assert recorder.status()["written"] == 3_000
    await database.aclose()
