"""Exchanges with the Coordinator: reports are heard once, and workers go on while none answers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.schemas.snapshot import SnapshotUpdate, StoredSnapshotJson, WorkerReportJson
from seedcore.settings import load_settings
from seedcore.telemetry.logs import get_logger
from seedcore.worker.decisions import coordinator_link
from seedcore.worker.decisions.coordinator_link import CoordinatorLink
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState
from tests.worker.decisions.snapshots import stored, update
from tests.worker.decisions.test_report_collector import completion

Answer = Callable[[WorkerReportJson], SnapshotUpdate] | Exception


class Plane:
    """A Coordinator that answers as a test says; `kept` is what the database has."""

    def __init__(self, answer: Answer, kept: tuple[StoredSnapshotJson, float] | None = None) -> None:
        self.answer, self.kept = answer, kept
        self.reports: list[WorkerReportJson] = []
        self.heard = asyncio.Event()

    async def exchange(self, report: WorkerReportJson) -> SnapshotUpdate:
        self.reports.append(report)
        self.heard.set()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(report)

    async def stored(self) -> tuple[StoredSnapshotJson, float] | None:
        return self.kept


def hears(report: WorkerReportJson) -> SnapshotUpdate:
    return update(heard=report["number"])


class Linked:
    def __init__(self, path: Path, plane: Plane) -> None:
        self.state, self.reports = SnapshotState("w-0", 1.0), ReportCollector()
        decider = LocalDecider(load_settings(data_dir=path), self.state, self.reports, lambda: 0.0)
        self.link = CoordinatorLink(plane, self.state, self.reports, decider, get_logger("test"))


async def test_the_first_answer_is_wanted_at_once_and_later_ones_may_wait_for_a_change(tmp_path: Path):
    plane = Plane(hears)
    linked = Linked(tmp_path, plane)
    await linked.link.exchange()
    await linked.link.exchange()
    linked.reports.record_completion(completion())
    await linked.link.exchange()
    assert [report["wait_s"] for report in plane.reports] == [
        0.0,
        coordinator_link.IDLE_WAIT_S,
        coordinator_link.BUSY_WAIT_S,
    ]
    assert [(report["generation"], report["version"]) for report in plane.reports] == [(0, 0), (1, 1), (1, 1)]


async def test_a_report_whose_answer_got_lost_is_sent_again_under_its_number(tmp_path: Path):
    plane = Plane(UnavailableError("away"))
    linked = Linked(tmp_path, plane)
    linked.reports.record_completion(completion())
    await linked.link.exchange()
    linked.reports.record_completion(completion())
    plane.answer = hears
    await linked.link.exchange()
    await linked.link.exchange()
    assert [(r["number"], sum(o["count"] for o in r["outcomes"])) for r in plane.reports] == [(1, 1), (1, 1), (2, 1)]
    assert (linked.link.failing, linked.link.failures) == (None, 1)


async def test_a_worker_that_starts_without_a_coordinator_takes_the_snapshot_in_the_database(tmp_path: Path):
    linked = Linked(tmp_path, Plane(UnavailableError("away"), (stored(), 30.0)))
    await linked.link.exchange()
    assert (linked.state.source, linked.link.failing is None) == ("database", False)
    assert linked.state.context(0).policy.rules


async def test_a_refused_report_is_dropped_so_that_the_next_one_is_heard(tmp_path: Path):
    plane = Plane(InvalidInputError("the report is wrong"))
    linked = Linked(tmp_path, plane)
    linked.reports.record_completion(completion())
    await linked.link.exchange()
    plane.answer = hears
    await linked.link.exchange()
    assert [r["number"] for r in plane.reports] == [1, 2]
    assert plane.reports[-1]["dropped"] == 1


@pytest.mark.parametrize("error", [UnavailableError("away"), RuntimeError("what is this?")])
async def test_without_a_coordinator_attempts_come_less_often_and_it_is_found_again(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(coordinator_link, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(coordinator_link, "MIN_INTERVAL_S", 0.01)
    plane = Plane(error)
    linked = Linked(tmp_path, plane)
    running = asyncio.create_task(linked.link.run())
    async with asyncio.timeout(10):
        while linked.link.failures < 4:
            plane.heard.clear()
            await plane.heard.wait()
        plane.answer = hears
        while linked.state.source != "coordinator":
            plane.heard.clear()
            await plane.heard.wait()
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert linked.link.failing is None


async def test_exchanges_follow_one_another_no_faster_than_their_interval(tmp_path: Path):
    plane: Any = Plane(hears)
    linked = Linked(tmp_path, plane)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(linked.link.run(), 0.55)
    assert 2 <= len(plane.reports) <= 6
