"""Live valves: learning, alarms with hysteresis, what goes unseen, and what outlives the process."""

import asyncio
import time

import numpy as np
import pytest

from seedcore.changepoint.features import OUTCOME_COLUMNS, TASK_COLUMNS
from seedcore.coordinator.monitors.maintenance import MAX_ADOPTION_SHARE, MonitorMaintenance
from seedcore.coordinator.monitors.monitor_storage import load_streams, save_streams
from seedcore.coordinator.monitors.stream_monitor import CALM, RECENT, REFERENCE, StreamMonitor
from seedcore.coordinator.monitors.stream_monitors import MAX_STREAMS, StreamMonitors
from seedcore.coordinator.valve import Valve
from seedcore.errors import ConflictError, NotFoundError
from seedcore.schemas.stream_rows import StreamRows
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.recipes import in_force


def rows(seed, count, columns=3, shift=0.0):
    return (np.random.default_rng(seed).standard_normal((count, columns)) + shift).astype(np.float32)


def told(count, seed=0, shift=0.0, domain=None, seen=None):
    return StreamRows(
        domain=domain,
        type="echo",
        seen=count if seen is None else seen,
        tasks=rows(seed, count, TASK_COLUMNS, shift).tolist(),
        outcomes=rows(seed + 1, count, OUTCOME_COLUMNS, shift).tolist(),
    )


def calibrated(monitor, arl0=10_000):
    monitor.set_valve(Valve.calibrate(monitor.reference(), arl0, rehearsal=False))
    return monitor


def learned(columns=3):
    monitor = StreamMonitor(columns)
    monitor.observe(rows(0, REFERENCE, columns))
    return monitor


def test_a_monitor_learns_then_is_due_then_monitors():
    monitor = StreamMonitor(3)
    monitor.observe(rows(0, REFERENCE - 1))
    assert (monitor.state, monitor.due) == ("learning", False)
    assert monitor.report()["needed"] == REFERENCE
    monitor.observe(rows(1, 1))
    assert monitor.due
    assert calibrated(monitor).state == "closed"
    assert not monitor.due


def test_an_alarm_opens_the_valve_and_calm_closes_it():
    monitor = calibrated(learned())
    monitor.observe(rows(2, 60, shift=2.0))
    assert (monitor.state, monitor.alarms > 0) == ("open", True)
    assert monitor.report()["last_alarm"] <= monitor.observed
    # What was normal before is normal again: the memory of the change goes first.
    for seed in range(3, 12):
        monitor.observe(rows(seed, CALM // 2))
    assert monitor.state == "closed"


def test_a_lasting_change_keeps_the_valve_open_until_it_is_learned():
    monitor = calibrated(learned())
    for seed in range(2, 20):
        monitor.observe(rows(seed, CALM, shift=1.5))
        assert monitor.state == "open"
    assert len(monitor.recent) == RECENT
    calibrated(monitor)
    monitor.observe(rows(99, CALM, shift=1.5))
    assert monitor.state == "closed"


def test_what_is_recent_is_bounded():
    monitor = StreamMonitor(2)
    for seed in range(12):
        monitor.observe(rows(seed, 500, 2))
    assert monitor.recent.shape == (RECENT, 2)
    assert monitor.observed == 6_000


def test_a_stored_watch_goes_on_exactly():
    monitor = calibrated(learned())
    monitor.observe(rows(2, 60, shift=2.0))
    again = StreamMonitor.from_stored(3, *monitor.to_stored())
    assert again.report() == monitor.report()
    for each in (monitor, again):
        each.observe(rows(3, 300, shift=0.4))
    assert again.report() == monitor.report()
    assert (again.recent == monitor.recent).all()


def test_features_of_another_release_start_a_monitor_from_nothing():
    assert len(StreamMonitor.from_stored(4, *learned().to_stored()).recent) == 0


def test_streams_are_by_domain_and_type_and_bounded():
    streams = StreamMonitors(restored=True)
    streams.observe([told(3), told(2, domain="sales", seen=40)])
    assert [(s.name, s.seen, s.report()["sampled"]) for s in streams.all()] == [
        ("echo", 3, False),
        ("sales/echo", 40, True),
    ]
    streams.observe([told(0, domain=f"d{n}", seen=1) for n in range(MAX_STREAMS)])
    assert len(streams.all()) == MAX_STREAMS
    assert streams.unwatched == 2
    assert streams.status(("nobody", "knows")).state == "unwatched"


def test_until_the_stored_valves_are_there_nothing_is_taken_in():
    streams = StreamMonitors()
    streams.observe([told(5)])
    assert (streams.missed, streams.all()) == (5, [])


def test_rows_of_a_dispatcher_with_other_features_are_left_out():
    streams = StreamMonitors(restored=True)
    streams.observe([StreamRows(type="echo", seen=1, tasks=[[1.0, 2.0]])])
    assert streams.all()[0].work.observed == 0


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_evidence_reaches_the_threshold_exactly_at_an_alarm(threshold):
    streams = StreamMonitors(threshold, restored=True)
    streams.observe([told(1)])
    stream = streams.all()[0]
    for raw, above in ((0.5, True), (0.499, False), (0.9, True)):
        stream.work.evidence = raw
        stream.update_status(threshold)
        assert (stream.status.evidence >= threshold - 1e-12) is above


async def test_a_stream_is_calibrated_kept_and_restored(pg_settings):
    database = Database(pg_settings)
    streams = StreamMonitors()
    maintenance = MonitorMaintenance(streams, database, arl0=1_000)
    await maintenance.run_round()
    assert streams.restored
    streams.observe([told(REFERENCE)])
    await maintenance.run_round()
    assert streams.get("echo").state == "closed"
    streams.observe([told(300, seed=5, shift=1.0)])
    assert streams.get("echo").state == "open"
    await maintenance.save()

    again = StreamMonitors()
    await MonitorMaintenance(again, database, arl0=1_000).run_round()
    assert [s.report() for s in again.all()] == [s.report() for s in streams.all()]
    for each in (streams, again):
        each.observe([told(50, seed=7)])
    assert again.get("echo").report() == streams.get("echo").report()
    await database.aclose()


RECIPE = """
insert into seedcore.recipes (signature, goal, inputs, plan)
values ('s', '"echo"', '{}', '{"steps": [{"id": "s1"}, {"id": "s2"}], "output": {}}')
"""


def outcomes(count, good):
    """Outcomes of which the share `good` succeeded, evenly spread, each as long as the others."""
    return [[1.0, float((n * good) % 1 + good >= 1.0), 0.0, 0.0, 0.0, 0.0] for n in range(count)]


async def changed_for_good(database, good):
    streams = StreamMonitors()
    maintenance = MonitorMaintenance(streams, database, arl0=1_000)
    await maintenance.run_round()
    streams.observe([told(REFERENCE)])
    await maintenance.run_round()
    for seed in range(2, 12):
        lasting = StreamRows(
            type="echo", seen=100, tasks=rows(seed, 100, TASK_COLUMNS, 1.5).tolist(), outcomes=outcomes(100, good)
        )
        streams.observe([lasting])
        await maintenance.run_round()
        assert streams.status((None, "echo")).shifted
    streams.observe([lasting])
    await maintenance.run_round()
    return streams.get("echo").work


@pytest.mark.parametrize(("good", "state"), [(0.9, "closed"), (0.3, "open")])
async def test_a_lasting_change_that_goes_well_becomes_normal_and_one_that_does_not_stays(pg_settings, good, state):
    database = Database(pg_settings)
    work = await changed_for_good(database, good)
    assert (work.state, work.adopted) == (state, int(state == "closed"))
    work.observe(rows(99, 300, TASK_COLUMNS, 1.5))
    assert work.state == state
    await database.aclose()


async def test_streams_that_never_stop_changing_take_turns_and_a_small_share_of_the_time(pg_settings):
    database, streams = Database(pg_settings), StreamMonitors()
    maintenance = MonitorMaintenance(streams, database, arl0=1_000)
    await maintenance.run_round()

    async def change(n):
        for name in ("a", "b"):
            for part in range(11):
                lasting = rows(100 * n + part, 100, TASK_COLUMNS, 1.5 * n).tolist()
                streams.observe([StreamRows(type=name, seen=100, tasks=lasting, outcomes=outcomes(100, 0.9))])
        await maintenance.run_round()
        return [streams.get(name).work.adopted for name in ("a", "b")]

    assert await change(0) == [0, 0]
    began = time.monotonic()
    assert await change(1) == [1, 0]
    assert await change(2) == [1, 0], "the next one waits until learning was a small share of the time"
    assert maintenance._adopt_at > time.monotonic()
    assert maintenance._adopt_at < began + (time.monotonic() - began) * (1 + 1 / MAX_ADOPTION_SHARE)
    maintenance._adopt_at = time.monotonic()
    assert await change(3) == [1, 1]
    await database.aclose()


async def test_a_recipe_in_force_says_that_a_change_goes_well_even_where_single_outcomes_do_not(pg_settings):
    database = Database(pg_settings)
    async with database.connection() as connection:
        await connection.execute(RECIPE)
    assert await in_force(database) == {"echo": True}
    assert (await changed_for_good(database, 0.3)).adopted == 1
    async with database.connection() as connection:
        await connection.execute("update seedcore.recipes set withdrawn_at = now()")
    assert await in_force(database) == {}
    await database.aclose()


async def test_a_calibration_on_demand_says_what_it_achieved_and_who_is_missing(pg_settings):
    database = Database(pg_settings)
    streams = StreamMonitors()
    maintenance = MonitorMaintenance(streams, database, arl0=1_000)
    await maintenance.run_round()
    streams.observe([told(100)])
    with pytest.raises(NotFoundError, match="known: echo"):
        await maintenance.calibrate("nobody", None, 0)
    with pytest.raises(ConflictError, match="100 observations, at least 500"):
        await maintenance.calibrate("echo", None, 0)
    streams.observe([told(500, seed=3)])
    said = await maintenance.calibrate("echo", 300, 0)
    assert said["work"]["arl0"] == 600
    assert said["work"]["arl0_achieved"] > 300
    assert said["work"]["reference"] == 600
    await database.aclose()


async def test_a_stored_monitor_that_cannot_be_read_starts_from_nothing(pg_settings):
    database = Database(pg_settings)
    streams = StreamMonitors(restored=True)
    streams.observe([told(10)])
    await save_streams(database, streams.all())
    async with database.connection() as connection:
        await connection.execute("update seedcore.valves set recent = '\\x00' where watch = 'work'")
    found = await load_streams(database)
    assert [(s.name, s.work.observed, s.outcome.observed) for s in found] == [("echo", 0, 10)]
    await database.aclose()


async def test_a_database_that_is_away_is_said_and_tending_goes_on(settings):
    away = settings.model_copy(update={"pg_dsn": "postgresql://nobody@127.0.0.1:1/none"})
    streams = StreamMonitors()
    maintenance = MonitorMaintenance(streams, Database(away), arl0=1_000)
    running = asyncio.create_task(maintenance.run())
    async with asyncio.timeout(20):
        while maintenance.failing is None:
            await asyncio.sleep(0.02)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
