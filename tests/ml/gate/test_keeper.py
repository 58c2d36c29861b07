"""The keeper: each pair counts once, decisions come soon, and a promotion that went wrong is taken back."""

import asyncio
import json
import time
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.ml.gate import promotion_repository
from seedcore.ml.gate.outcome_repository import delete_expired
from seedcore.settings import Settings
from seedcore.stores.leading.leader_loop import LeaderLoop
from tests.ml.gate.support import NAME, Gate, check_servable, gate_on, store_version

BETTER = [(0, 1), (1, 1), (0, 1), (1, 1)]
"""What champion and candidate answered; 1 is true."""
WORSE = [(1, 0), (1, 1)]
EQUAL = [(1, 1), (0, 0)]


async def outcomes_of(gate: Gate) -> int:
    return int((await gate.promotion())["evidence"]["outcomes"])


async def test_a_better_candidate_is_promoted_and_its_evidence_says_why(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing()
        await gate.tell(await gate.predict(BETTER * 30))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 2}
        stored = await gate.promotion()
        assert stored["status"] == "promoted"
        evidence = stored["evidence"]
        assert evidence["outcomes"] == 100
        assert evidence["gain"]["lower"] > 0
        assert evidence["loss"] == {"champion": 0.5, "candidate": 0.0}
        assert evidence["points"][-1][0] == 100
        assert evidence["watch"]["watched"] is True
        assert stored["watch_until"] > stored["decided_at"]
        await check_servable(gate)


async def test_a_worse_candidate_is_refused_and_the_champion_stays(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing()
        await gate.tell(await gate.predict(WORSE * 60))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 1}
        assert (await gate.promotion())["status"] == "refused"
        await check_servable(gate)


async def test_the_loop_decides_within_two_seconds_of_the_last_outcome(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing()
        tasks = await gate.predict(BETTER * 30)
        await gate.tell(tasks[:90])
        job = type("Job", (), {"name": "gate", "interval_s": 0.5, "run": gate.keeper.run})
        leader = LeaderLoop(gate.database, "models", [job])  # type: ignore[list-item]
        leader.start()
        async with asyncio.timeout(20):
            while (await gate.promotion())["evidence"]["outcomes"] < 90:
                await asyncio.sleep(0.02)
        await gate.tell(tasks[90:])
        began = time.monotonic()
        async with asyncio.timeout(20):
            while (await gate.versions()).get("champion") != 2:
                await asyncio.sleep(0.02)
        assert time.monotonic() - began < 2.0
        await leader.stop()


async def test_predictions_that_arrive_late_and_outcomes_that_commit_late_count_once(pg_settings: Settings):
    async with gate_on(pg_settings, gate_min_outcomes=1_000) as gate:
        await gate.shadowing()
        late = [uuid4() for _ in range(10)]
        await gate.tell(late)
        await gate.tell(await gate.predict(EQUAL * 10))
        await gate.keeper.run()
        assert await outcomes_of(gate) == 20
        # An outcome with an earlier number whose transaction ends after a later one was counted.
        async with gate.database.connection() as slow:
            transaction = slow.transaction()
            await transaction.start()
            held = (await gate.predict(EQUAL[:1]))[0]
            await slow.execute(
                "insert into seedcore.outcomes (task_id, tenant, name, label) values ($1, 'default', $2, '1')",
                held,
                NAME,
            )
            await gate.tell(await gate.predict(EQUAL))
            await gate.keeper.run()
            assert await outcomes_of(gate) == 22
            await transaction.commit()
        await gate.predict(EQUAL * 5, tasks=late)
        for _ in range(3):
            await gate.keeper.run()
        assert await outcomes_of(gate) == 33
        assert await gate.value("select count(*) from seedcore.outcomes where judged_at is null") == 0


async def test_a_crash_before_the_commit_and_two_keepers_at_once_count_a_pair_once(
    pg_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    async with gate_on(pg_settings, gate_min_outcomes=1_000) as gate:
        await gate.shadowing()
        await gate.tell(await gate.predict(EQUAL * 20))
        real = promotion_repository.save_progress

        async def crash(connection: asyncpg.Connection, *given: object) -> None:
            await real(connection, *given)  # type: ignore[arg-type]
            raise RuntimeError("killed")

        monkeypatch.setattr(promotion_repository, "save_progress", crash)
        with pytest.raises(RuntimeError, match="killed"):
            await gate.keeper.run()
        monkeypatch.undo()
        assert await outcomes_of(gate) == 0
        await asyncio.gather(*(gate.keeper.run() for _ in range(3)))
        assert await outcomes_of(gate) == 40


async def test_pairs_of_another_promotion_or_champion_do_not_count(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing(2)
        of_older = await gate.predict(BETTER * 30)
        await gate.promotions.promote(NAME, 3)
        await gate.tell(of_older)
        await gate.tell(await gate.predict([(1, None)] * 30))
        await gate.keeper.run()
        assert await outcomes_of(gate) == 0
        assert await gate.versions() == {"champion": 1, "candidate": 3}


async def promoted_by_test(gate: Gate) -> None:
    await gate.shadowing()
    await gate.tell(await gate.predict(BETTER * 30))
    await gate.keeper.run()
    assert await gate.versions() == {"champion": 2}


async def test_a_champion_that_turns_bad_within_its_watch_is_rolled_back(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await promoted_by_test(gate)
        await gate.tell(await gate.predict([(1, None)] * 40, version=2))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 2}
        assert (await gate.promotion())["evidence"]["watch"]["outcomes"] == 40
        await gate.tell(await gate.predict([(0, None)] * 60, version=2))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 1}
        stored = await gate.promotion()
        assert stored["status"] == "rolled_back"
        assert stored["evidence"]["rollback"]["by"] == "gate"
        assert stored["evidence"]["watch"]["opened"] is True
        assert stored["evidence"]["watch"]["chance"] < 0.01
        await check_servable(gate)


async def test_a_forced_champion_is_watched_by_what_its_predecessor_lost(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.promotions.promote(NAME, 1)
        await gate.tell(await gate.predict([(1, None)] * 180 + [(0, None)] * 20))
        await gate.keeper.run()
        await gate.promotions.promote(NAME, 2, force=True)
        await gate.tell(await gate.predict([(0, None)] * 60, version=2))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 1}
        assert (await gate.promotion())["evidence"]["watch"]["from"] == "200 outcomes of version 1"


async def test_late_labels_of_an_earlier_champion_do_not_take_back_the_present_one(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await promoted_by_test(gate)
        late = await gate.predict([(0, None)] * 60, version=2)
        await gate.promotions.promote(NAME, 3, force=True)
        await gate.tell(late)
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 3}
        await gate.promotions.rollback(NAME, "by hand", None)
        assert await gate.versions() == {"champion": 2}
        await gate.tell(await gate.predict([(0, None)] * 60, version=2))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 1}
        await check_servable(gate)


async def test_a_watch_ends_when_there_is_nothing_to_go_back_to(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await promoted_by_test(gate)
        gate.store.delete(NAME, 1)
        gate.keeper._manifests.clear()
        await gate.tell(await gate.predict([(0, None)] * 60, version=2))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 2}
        stored = await gate.promotion()
        assert stored["watch_until"] is None
        assert "no version 1" in stored["evidence"]["watch"]["ended"]


async def test_a_forced_version_that_cannot_be_compared_is_not_watched(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.promotions.promote(NAME, 1)
        store_version(gate.store, 4, task="regression", label_kind="number", labels=[])
        answer = await gate.promotions.promote(NAME, 4, force=True)
        assert answer.status == "promoted"
        assert "cannot be compared" in str(answer.evidence["watch"])
        await check_servable(gate)


async def test_a_name_that_fails_does_not_stop_the_others(pg_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing()
        await gate.tell(await gate.predict(BETTER * 30))
        await gate.tell(await gate.predict([(1, None)], name="a"), name="a")
        real = gate.keeper._advance_test

        async def broken(connection: asyncpg.Connection, name: str, pairs: list[object]) -> bool:
            if name == "a":
                raise RuntimeError("broken")
            return await real(connection, name, pairs)  # type: ignore[arg-type]

        monkeypatch.setattr(gate.keeper, "_advance_test", broken)
        with pytest.raises(RuntimeError, match="broken"):
            await gate.keeper.run()
        assert await gate.versions() == {"champion": 2}


async def test_a_watch_that_ends_says_what_the_change_cost(pg_settings: Settings):
    async with gate_on(pg_settings, gate_watch_s=0.2) as gate:
        await promoted_by_test(gate)
        async with asyncio.timeout(10):
            while "ended_at" not in (await gate.promotion())["evidence"]["watch"]:
                await gate.keeper.end_watches()
        stored = await gate.promotion()
        assert (stored["status"], stored["watch_until"]) == ("promoted", None)
        assert stored["evidence"]["watch"]["energy"] == {"enough": False, "tasks_before": 0, "tasks_after": 0}
        assert gate.energy.asked == [(stored["decided_at"], "ml.predict", pytest.approx(1.0))]
        await gate.tell(await gate.predict([(0, None)] * 60, version=2))
        await gate.keeper.run()
        assert await gate.versions() == {"champion": 2}


async def add_step(gate: Gate, task: UUID, parent_ended: str | None) -> None:
    parent = uuid4()
    async with gate.database.connection() as connection:
        for key, of, type_ in ((parent, None, "plan"), (task, parent, "ml.predict")):
            await connection.execute(
                "insert into seedcore.tasks (id, type, params, max_attempts, parent_id) values ($1, $2, '{}', 3, $3)",
                key,
                type_,
                of,
            )
        if parent_ended == "failed":
            await connection.execute(
                "insert into seedcore.dead (id, tick, attempts, error_code) values ($1, 1, 1, 'skill_failed')", parent
            )
        elif parent_ended is not None:
            await connection.execute(
                "insert into seedcore.finished (id, tick, status, attempts) values ($1, 1, $2, 1)", parent, parent_ended
            )


async def test_the_success_of_the_parent_labels_models_that_are_judged_by_it(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        store_version(gate.store, 1, name="risk", outcome="success", label_kind="boolean", labels=[False, True])
        await gate.promotions.promote("risk", 1)
        tasks = await gate.predict([(1, None)] * 5, name="risk")
        for task, end in zip(tasks, ("completed", "failed", "cancelled", None), strict=False):
            await add_step(gate, task, end)
        for _ in range(2):
            await gate.keeper.run()
        found = await gate.fetch("select task_id, label::text as label, judged_at from seedcore.outcomes")
        assert {row["task_id"]: json.loads(row["label"]) for row in found} == {tasks[0]: True, tasks[1]: False}
        assert all(row["judged_at"] is not None for row in found)


async def test_labelled_predictions_are_not_looked_at_again_and_no_open_one_is_missed(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        store_version(gate.store, 1, name="risk", outcome="success", label_kind="boolean", labels=[False, True])
        await gate.promotions.promote("risk", 1)
        tasks = await gate.predict([(1, None)] * 3, name="risk")
        await add_step(gate, tasks[0], "completed")
        await add_step(gate, tasks[1], None)
        await add_step(gate, tasks[2], "completed")
        await gate.fetch("update seedcore.predictions set made_at = now() - interval '5 minutes'")
        for _ in range(2):
            await gate.keeper.run()
        assert gate.keeper._labelled == {"risk": 1}
        parent = await gate.value("select parent_id from seedcore.tasks where id = $1", tasks[1])
        await gate.fetch(
            "insert into seedcore.finished (id, tick, status, attempts) values ($1, 1, 'completed', 1)", parent
        )
        for _ in range(2):
            await gate.keeper.run()
        assert await gate.value("select count(*) from seedcore.outcomes") == 3
        assert gate.keeper._labelled == {"risk": 3}
        await add_step(gate, (await gate.predict([(1, None)], name="risk"))[0], "failed")
        await gate.keeper.run()
        assert await gate.value("select count(*) from seedcore.outcomes") == 4


async def test_old_rows_and_rows_over_the_bound_are_deleted(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.promotions.promote(NAME, 1)
        tasks = await gate.predict([(1, None)] * 30)
        await gate.tell(tasks)
        async with gate.database.connection() as connection:
            assert await delete_expired(connection, 3_600, 25, 1_000) == 10
            await connection.execute(
                "update seedcore.predictions set made_at = now() - interval '1 day' where seq < 11"
            )
            await connection.execute("update seedcore.outcomes set known_at = now() - interval '1 day' where seq < 11")
            assert await delete_expired(connection, 3_600, 25, 1_000) == 10
            assert await delete_expired(connection, 3_600, 25, 1_000) == 0
        left = await gate.fetch("select task_id from seedcore.predictions order by seq")
        assert [row["task_id"] for row in left] == tasks[10:]


async def test_outcomes_without_a_prediction_are_given_up_and_counted(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.tell([uuid4(), uuid4()])
        async with gate.database.connection() as connection:
            await connection.execute("update seedcore.outcomes set known_at = now() - interval '10 minutes'")
        await gate.keeper.run()
        assert gate.keeper.health()["unmatched"] == 2


async def test_health_says_how_late_the_gate_is_and_what_is_open(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing()
        await gate.tell(await gate.predict(EQUAL))
        await gate.keeper.run()
        health = gate.keeper.health()
        assert health["open_promotions"] == 1
        assert 0 < float(str(health["lag_s"])) < 5
