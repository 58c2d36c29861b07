"""Learning as a task: from PostgreSQL to a champion that answers, once however often an attempt is repeated."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.registry.aliases import read_aliases, set_alias
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.salience import salience_job
from seedcore.ml.salience.salience_job import MIN_TASKS, run_salience_job
from seedcore.ml.skills import ml_learn_salience
from seedcore.schemas.ml.salience import LearnedSalience, LearnSalience
from seedcore.settings import Settings
from seedcore.skills.testing import run_skill
from seedcore.stores.postgres import Database
from seedcore.tasks.history import ended_work
from tests.ml.salience.history import ended_tasks, store
from tests.ml.support import started_service

pytestmark = pytest.mark.integration
LARGE, SMALL = {"params_bytes": 70_000, "failure_share": 0.1}, {"params_bytes": 100, "failure_share": 0.1}


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


async def fill(database: Database, count: int = 1_200) -> None:
    async with database.transaction() as connection:
        await store(connection, ended_tasks(count))


async def learn(settings: Settings, job_id: str | None = None, **request: object) -> LearnedSalience:
    given = LearnSalience.model_validate(request)
    return await asyncio.to_thread(run_salience_job, given, settings, job_id or str(uuid.uuid4()), lambda _d, _t: None)


async def champion(database: Database) -> int | None:
    async with database.connection() as connection:
        return (await read_aliases(connection)).of("salience").get("champion")


async def promotions(database: Database) -> list[tuple[int | None, int, str]]:
    async with database.connection() as connection:
        rows = await connection.fetch("select champion, candidate, status from seedcore.promotions order by id")
    return [tuple(row) for row in rows]


async def test_what_became_of_tasks_is_read_as_it_was(database: Database):
    await fill(database, 50)
    async with database.connection() as connection:
        found = await ended_work(connection, 50, None)
        assert await ended_work(connection, 50, 3600.0) == found
        assert await ended_work(connection, 50, 1e-6) == []
        assert len(await ended_work(connection, 40, None)) == 40
    wanted = ended_tasks(50)
    names = ("stream", "type", "priority", "attempts", "params_bytes", "failed", "escalated", "approval", "seconds")
    assert [[getattr(t, n) for n in names] for t in found] == [[getattr(t, n) for n in names] for t in wanted]
    assert {t.evidence for t in found if not t.failed} == {0.1}


async def test_a_learned_salience_answers_once_it_beats_the_formula(pg_settings: Settings, database: Database):
    await fill(database)
    job = str(uuid.uuid4())
    done = await learn(pg_settings, job)
    assert (done.status, done.version, await champion(database)) == ("champion", 1, 1)
    assert done.metrics["gain_low"] > 0
    # Another attempt finds what the first one stored, and changes nothing.
    assert await learn(pg_settings, job) == done
    assert await promotions(database) == [(None, 1, "promoted")]
    assert ModelStore(pg_settings.models_dir).versions("salience") == [1]
    async with started_service(pg_settings) as service:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            answer = (
                await http.post("/score/salience", json={"items": [LARGE, SMALL, SMALL | {"escalated": True}]})
            ).json()
            large, small, escalated = answer["scores"]
            assert {score["source"] for score in answer["scores"]} == {"learned"}
            assert large["model"] == {"name": "salience", "version": 1}
            assert answer["reason"] is None
            assert large["score"] > 0.25 > small["score"]
            assert escalated["score"] == pytest.approx(1 - 0.4 * (1 - small["score"]))
            # Its file is damaged: the formula answers, and says why.
            file = next((pg_settings.models_dir / "salience" / "1").glob("*.ubj"))
            file.write_bytes(b"{}")
            manifest = file.with_name("manifest.json")
            manifest.write_text(manifest.read_text() + " ")
            answer = (await http.post("/score/salience", json={"items": [LARGE]})).json()
            assert answer["scores"][0]["source"] == "formula"
            assert "damaged" in answer["reason"]
            health = (await http.get("/health")).json()["salience"]
            assert health == {"fallbacks": 1, "failing": answer["reason"]}


async def test_an_attempt_that_was_killed_before_it_decided_is_decided_by_the_next(
    pg_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
):
    await fill(database)
    job, decide = str(uuid.uuid4()), salience_job._decide

    async def killed(*_: object) -> LearnedSalience:
        raise KeyboardInterrupt

    monkeypatch.setattr(salience_job, "_decide", killed)
    with pytest.raises(KeyboardInterrupt):
        await learn(pg_settings, job)
    assert await champion(database) is None
    monkeypatch.setattr(salience_job, "_decide", decide)
    done = await learn(pg_settings, job)
    assert (done.status, done.version, await champion(database)) == ("champion", 1, 1)


async def test_a_version_that_is_not_better_is_kept_with_its_reason_and_a_later_one_can_be_taken_back(
    pg_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
):
    await fill(database)
    assert (await learn(pg_settings)).status == "champion"
    monkeypatch.setattr(salience_job, "why_not_better", lambda *_: "it is not better")
    job = str(uuid.uuid4())
    kept = await learn(pg_settings, job)
    assert (kept.status, kept.version, kept.reason) == ("kept", 2, "it is not better")
    assert await learn(pg_settings, job) == kept
    monkeypatch.undo()
    assert (await learn(pg_settings)).status == "champion"
    assert await promotions(database) == [(None, 1, "promoted"), (1, 2, "refused"), (1, 3, "promoted")]
    gate = Promotions(pg_settings, ModelStore(pg_settings.models_dir), database)
    assert await gate.rollback("salience", "a test", "ann") == 1
    assert await champion(database) == 1


async def test_too_few_tasks_or_tasks_that_ended_alike_train_nothing(pg_settings: Settings, database: Database):
    await fill(database, MIN_TASKS - 1)
    done = await learn(pg_settings)
    assert (done.status, done.version, done.rows) == ("not_trained", None, MIN_TASKS - 1)
    async with database.connection() as connection:
        await connection.execute("delete from seedcore.dead")
        await store(connection, [task._replace(failed=False) for task in ended_tasks(MIN_TASKS)])
    done = await learn(pg_settings)
    assert done.status == "not_trained"
    assert "alike" in done.reason
    assert ModelStore(pg_settings.models_dir).versions("salience") == []


async def test_a_champion_of_other_columns_is_no_champion_of_the_salience(pg_settings: Settings, database: Database):
    async with started_service(pg_settings) as service:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            data = [{"x": float(n), "y": float(n % 7)} for n in range(40)]
            made = await http.post("/xgboost/train", json={"name": "salience", "dataset": data, "label_column": "y"})
            assert made.status_code == 200, made.text
            async with database.transaction() as connection:
                await set_alias(connection, "salience", "champion", 1)
            answer = (await http.post("/score/salience", json={"items": [LARGE]})).json()
            assert answer["scores"][0]["source"] == "formula"
            assert "does not take the features" in answer["reason"]


async def test_learning_is_submitted_as_a_task(pg_settings: Settings, database: Database):
    async with started_service(pg_settings) as service:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            answer = await http.post("/score/salience/train", json={"rows": 1_000})
            assert answer.status_code == 202, answer.text
            async with database.connection() as connection:
                row = await connection.fetchrow(
                    "select type, slow from seedcore.tasks where id = $1", answer.json()["job_id"]
                )
            assert (row["type"], row["slow"]) == ("ml.learn-salience", True)
            wrong = await http.post("/score/salience/train", json={"rows": 5, "window_s": -1, "x": 1})
            assert wrong.status_code == 422
            assert {error["field"] for error in wrong.json()["errors"]} == {"rows", "window_s", "x"}


async def test_the_skill_answers_as_the_job_does(
    pg_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
):
    await fill(database)
    monkeypatch.setattr("seedcore.settings.get_settings", lambda: pg_settings)
    answer = await asyncio.to_thread(run_skill, ml_learn_salience, {"rows": 1_000})
    assert (answer["status"], answer["version"]) == ("champion", 1)
    assert answer["rows"] == 1_000
