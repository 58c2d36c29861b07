"""The keeper on a real database: from recorded predictions and outcomes to monitors, and to asks for triage."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sklearn.datasets import load_digits

from seedcore.errors import ConflictError, UnavailableError
from seedcore.ml.gate.recorded_predictions import write_predictions
from seedcore.ml.monitoring.monitor_keeper import MonitorKeeper
from seedcore.ml.monitoring.monitor_store import list_monitors
from seedcore.ml.predicting.prediction_row import ModelAnswer, PredictionRow
from seedcore.ml.registry.aliases import clear_alias, set_alias
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration

IMAGES = load_digits().data.astype(np.float32)[np.random.default_rng(0).permutation(1797)]


class Coordinator:
    """Answers with what a test wants, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | Exception = {"id": "1", "action": "none", "decision": {"facts": {}}}

    async def anomaly_triage(self, request: Mapping[str, object]) -> dict[str, Any]:
        self.asked.append(dict(request))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    """A store with two versions of `digits`, a database, a keeper, and a stream of predictions."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.database = Database(settings, name="test")
        self.store = ModelStore(folder / "models")
        self.store.prepare()
        self.coordinator = Coordinator()
        self.keeper = self.another()
        for _ in range(2):
            self.store.save(b"no model", manifest(), reference())

    def another(self) -> MonitorKeeper:
        return MonitorKeeper(self.database, self.store, self.coordinator, 10_000.0)

    async def champion(self, version: int | None, name: str = "digits") -> None:
        async with self.database.transaction() as connection:
            if version is None:
                await clear_alias(connection, name, "champion")
            else:
                await set_alias(connection, name, "champion", version)

    async def predict(self, rows: np.ndarray, wrong: float = 0.0, version: int = 1, told: bool = True) -> list[UUID]:
        """Record predictions of some time ago, and what was true of them."""
        made = [
            PredictionRow(str(uuid4()), "default", "digits", version, ModelAnswer(i % 10), row.tolist(), 0.001)
            for i, row in enumerate(rows)
        ]
        async with self.database.connection() as connection:
            await write_predictions(connection, made)
            await connection.execute("update seedcore.predictions set made_at = now() - interval '1 min'")
        if told:
            await self.tell([UUID(one.task_id) for one in made], wrong)
        return [UUID(one.task_id) for one in made]

    async def tell(self, ids: list[UUID], wrong: float = 0.0, ago: str = "1 min") -> None:
        labels = [(i + (i % 100 < 100 * wrong)) % 10 for i in range(len(ids))]
        async with self.database.connection() as connection:
            await connection.executemany(
                "insert into seedcore.outcomes (task_id, tenant, name, label, known_at)"
                " values ($1, 'default', 'digits', $2::text::jsonb, now() - $3::text::interval)",
                [(task, str(label), ago) for task, label in zip(ids, labels, strict=True)],
            )

    async def stored(self) -> dict[str, Any]:
        async with self.database.connection() as connection:
            (row,) = await list_monitors(connection, "digits")
        return row.facts["report"] | {"version": row.version}

    def monitor(self, keeper: MonitorKeeper | None = None) -> Any:
        return (keeper or self.keeper)._models["digits"].monitor


def manifest(name: str = "digits") -> ModelManifest:
    return ModelManifest.model_validate(
        {
            "name": name,
            "version": 0,
            "created_at": "2026-01-01T00:00:00Z",
            "task": "multiclass",
            "features": [f"p{i}" for i in range(64)],
            "label_column": "digit",
            "label_kind": "integer",
            "labels": list(range(10)),
            "params": {},
            "metrics": {"accuracy": 0.95, "n_valid": 200},
            "n_rows": 900,
            "sha256": "",
            "size_bytes": 0,
            "xgboost_version": "3",
        }
    )


def reference() -> bytes:
    file = BytesIO()
    np.savez_compressed(file, features=IMAGES[:800])
    return file.getvalue()


def turned(rows: np.ndarray) -> np.ndarray:
    return np.rot90(rows.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)


@pytest.fixture
async def world(pg_settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    made = World(pg_settings, tmp_path)
    yield made
    await made.database.aclose()


async def test_a_model_without_a_champion_is_not_watched(world):
    await world.keeper.run()
    assert world.keeper._models == {}


async def test_a_champion_is_watched_from_its_promotion_on(world):
    await world.predict(turned(IMAGES[800:900]), wrong=0.9)
    await world.champion(1)
    await world.keeper.run()
    assert (await world.stored())["inputs"]["state"] == "closed"
    await world.predict(IMAGES[900:1200])
    await world.keeper.run()
    monitor = world.monitor()
    assert (monitor.inputs.alarms.observed, monitor.losses.alarms.observed) == (300, 300)
    assert monitor.opened() == []


async def test_inputs_that_change_open_a_monitor_and_ask_for_triage_once(world):
    await world.champion(1)
    await world.keeper.run()
    await world.predict(IMAGES[900:1200])
    await world.predict(turned(IMAGES[1200:1260]), wrong=0.0)
    await world.keeper.run()
    await world.keeper.ask()
    await world.keeper.ask()
    (asked,) = world.coordinator.asked
    assert (asked["model"]["name"], asked["model"]["monitor"]) == ("digits", "inputs")
    assert 50 <= asked["model"]["rows"] <= 60
    assert asked["model"]["evidence"] >= 0.5
    assert 300 < asked["model"]["observed"] < 330
    report = await world.stored()
    assert report["inputs"]["state"] == "open"
    assert report["inputs"]["change_since"] is not None
    assert [one["action"] for one in report["caused"]] == ["none"]


async def test_losses_that_rise_open_a_monitor_though_inputs_are_as_before(world):
    await world.champion(1)
    await world.keeper.run()
    await world.predict(IMAGES[800:1100], wrong=0.04)
    await world.predict(IMAGES[1100:1300], wrong=0.6)
    await world.keeper.run()
    assert next(one.monitor for one in world.monitor().opened()) == "losses"
    report = world.monitor().report()
    assert report["inputs"]["state"] == "closed"
    assert report["accuracy"]["value"] < 0.7


async def test_a_leader_after_this_one_goes_on_where_it_was_and_sends_what_had_no_answer(world):
    await world.champion(1)
    await world.keeper.run()
    await world.predict(turned(IMAGES[900:960]))
    await world.keeper.run()
    world.coordinator.answer = UnavailableError("it restarts")
    await world.keeper.ask()
    (first,) = world.coordinator.asked
    after = world.another()
    await after.run()
    assert world.monitor(after).inputs.alarms == world.monitor().inputs.alarms
    assert world.monitor(after).predictions == world.monitor().predictions
    world.monitor(after).asks.next_at = 0.0
    world.coordinator.answer = {"id": "7", "action": "retrain", "result": {"task_id": "t", "every_s": 60}}
    await world.predict(turned(IMAGES[960:1000]))
    await after.run()
    await after.ask()
    assert world.coordinator.asked == [first, first]
    assert (await world.stored())["caused"][-1]["task_id"] == "t"


async def test_monitors_begin_again_with_another_champion_and_keep_what_was_caused(world):
    await world.champion(1)
    await world.keeper.run()
    await world.predict(turned(IMAGES[900:960]))
    await world.keeper.run()
    await world.keeper.ask()
    await world.champion(2)
    await world.keeper.run()
    report = await world.stored()
    assert (report["version"], report["inputs"]["state"], report["inputs"]["observed"]) == (2, "closed", 0)
    assert len(report["caused"]) == 1
    await world.predict(turned(IMAGES[1000:1040]), version=1)
    await world.keeper.run()
    assert world.monitor().inputs.alarms.observed == 0


async def test_an_outcome_waits_for_its_prediction_for_some_seconds(world):
    await world.champion(1)
    await world.keeper.run()
    await world.tell([uuid4()], ago="1 s")
    await world.predict(IMAGES[900:910])
    await world.keeper.run()
    assert world.monitor().losses.alarms.observed == 0
    async with world.database.connection() as connection:
        await connection.execute("update seedcore.outcomes set known_at = now() - interval '1 min'")
    await world.keeper.run()
    assert world.monitor().losses.alarms.observed == 10


async def test_a_request_that_is_refused_is_not_repeated(world):
    await world.champion(1)
    await world.keeper.run()
    await world.predict(turned(IMAGES[900:960]))
    await world.keeper.run()
    world.coordinator.answer = ConflictError("another request")
    await world.keeper.ask()
    assert world.monitor().asks.asking is None
    assert world.monitor().asks.caused[-1]["reason"] == "another request"


async def test_a_model_that_cannot_be_read_does_not_blind_the_others(world):
    world.store.save(b"no model", manifest("broken"), None)
    (world.store.root / "broken" / "1" / "manifest.json").write_text("{}")
    await world.champion(1, "broken")
    await world.champion(1)
    await world.keeper.run()
    assert "damaged" in world.keeper.failing["broken"]
    assert world.monitor().inputs.state == "closed"


async def test_the_monitors_of_a_model_without_a_champion_go(world):
    await world.champion(1)
    await world.keeper.run()
    await world.champion(None)
    await world.keeper.run()
    async with world.database.connection() as connection:
        assert await list_monitors(connection, None) == []


async def test_rounds_at_once_of_two_keepers_leave_a_whole_row(world):
    await world.champion(1)
    other = world.another()
    await asyncio.gather(world.keeper.run(), other.run())
    await world.predict(IMAGES[900:1000])
    await asyncio.gather(world.keeper.run(), other.run())
    third = world.another()
    await third.run()
    assert world.monitor(third).inputs.alarms.observed in (0, 100)
