"""Triages and opened valves above the gate become flashbulbs, once, also after their store was away."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from seedcore.changepoint import MIN_REFERENCE, Valve
from seedcore.changepoint.features import TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitors import MonitoredStream, StreamMonitors
from seedcore.coordinator.triage.incident_keeper import IncidentKeeper
from seedcore.coordinator.triage.repository import TriageRecord, TriageRepository
from seedcore.errors import UnavailableError
from seedcore.memory.flashbulbs.flashbulb_store import FlashbulbStore
from seedcore.memory.flashbulbs.incident import Incident
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.model import new_id
from tests.coordinator.triage.test_run_triage import coordinator, spiky

pytestmark = pytest.mark.integration


class Away:
    """A store that does not answer."""

    async def record(self, incident: Incident) -> Incident:
        raise UnavailableError("MySQL is away")


async def score(stream: str | None, evidence: float) -> Mapping[str, object]:
    return {"score": evidence, "source": "formula"}


async def put(triages: TriageRepository, salience: float) -> TriageRecord:
    details: dict[str, object] = {
        "salience": {"score": salience, "source": "formula"},
        "reasons": {"hypotheses": [{"name": "chance", "belief": 0.1, "numbers": {}}]},
    }
    record = TriageRecord(new_id(), "de/shop.price", False, "notify", details)
    assert await triages.begin(record, None, "hash", "decided")
    return record


async def test_a_triage_above_the_gate_is_kept_once_also_after_its_store_was_away(pg_settings: Settings):
    database, store = Database(pg_settings), FlashbulbStore(pg_settings)
    triages = TriageRepository(database, 86_400)
    record = await put(triages, 0.9)
    await put(triages, 0.2)
    with pytest.raises(UnavailableError):
        await IncidentKeeper(Away(), triages, StreamMonitors(0.5), score, 0.7).step()
    for _ in range(2):  # the second one is a replica, or the same after a restart
        keeper = IncidentKeeper(store, triages, StreamMonitors(0.5), score, 0.7)
        await keeper.step()
        await keeper.step()
    (kept,) = await store.recent()
    assert (kept.id, kept.kind, kept.salience) == (record.id, "triage", 0.9)
    assert kept.payload["hypotheses"] == [{"name": "chance", "belief": 0.1}]
    assert (kept.payload["stream"], kept.payload["action"]) == ("de/shop.price", "notify")
    await store.close()
    await database.aclose()


async def test_a_valve_that_opened_is_kept_once(pg_settings: Settings):
    database, store, streams = Database(pg_settings), FlashbulbStore(pg_settings), StreamMonitors(0.5)
    stream = MonitoredStream("de/shop.price")
    random = np.random.default_rng(0)
    stream.work.set_valve(Valve.calibrate(random.standard_normal((MIN_REFERENCE, TASK_COLUMNS)), 1000))
    stream.work.observe((random.standard_normal((100, TASK_COLUMNS)) + 3).astype(np.float32))
    streams.restore([stream])
    triages = TriageRepository(database, 86_400)
    for _ in range(2):
        keeper = IncidentKeeper(store, triages, streams, score, 0.4)
        await keeper.step()
        await keeper.step()
    (kept,) = await store.recent()
    assert kept.kind == "valve.opened"
    assert kept.salience == pytest.approx(stream.work.evidence)
    assert (kept.payload["stream"], kept.payload["opened_at"]) == ("de/shop.price", stream.work.opened_at)
    await store.close()
    await database.aclose()


async def test_the_coordinator_keeps_what_it_triages(pg_settings: Settings, tmp_path: Path):
    store = FlashbulbStore(pg_settings)
    async with coordinator(pg_settings, "{actions: {notify: {}}}", tmp_path, flashbulb_salience=0.0) as http:
        answer = await http.post("/anomaly-triage", json={"data": spiky(), "dry_run": True})
        assert answer.status_code == 200, answer.text
        await http.service._incidents.step()  # type: ignore[attr-defined]
        health = (await http.get("/health")).json()
    kept = {str(incident.id) for incident in await store.recent()}
    assert answer.json()["id"] in kept
    assert health["incidents"]["gate"] == 0.0
    await store.close()
