"""The parts of chaos that touch something: the client, the signals, the skill's journal, the sums."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import structlog

from benchmarks.chaos import skills
from benchmarks.chaos.counters import total_stale
from benchmarks.chaos.evidence import Evidence, Run, Shown, read_journal
from benchmarks.chaos.load import Load
from benchmarks.chaos.plan import KILL, STOP, Fault, Task
from benchmarks.chaos.recovery import Struck, by_kind, in_flight
from benchmarks.chaos.strike import Striker
from seedcore.skills import SkillContext

BATCH = [Task("chaos-1-0", 0, 0), Task("chaos-1-1", 1, 50, queue="graph", delay_s=1.0)]


async def submitted(answers: list[httpx.Response | Exception], times: int = 1) -> tuple[Evidence, list[bytes]]:
    """Submit BATCH to a server that gives `answers` in turn; also the bodies that it saw."""
    bodies, left = [], iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given

    evidence = Evidence()
    async with httpx.AsyncClient(base_url="http://server", transport=httpx.MockTransport(answer)) as client:
        load = Load(client, 1, 2, 10, evidence)
        for _ in range(times):
            await load.submit(BATCH)
    return evidence, bodies


async def test_a_submission_without_an_answer_is_sent_again_unchanged() -> None:
    lost: list[httpx.Response | Exception] = [httpx.ReadTimeout("gone"), httpx.Response(503), httpx.Response(404)]
    evidence, bodies = await submitted([*lost, httpx.Response(201, json={"ids": ["a", "b"]})])
    assert evidence.acked == {"chaos-1-0": "a", "chaos-1-1": "b"}
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    assert [task["idempotency_key"] for task in json.loads(bodies[0])["tasks"]] == ["chaos-1-0", "chaos-1-1"]


async def test_two_answers_that_differ_are_kept_apart() -> None:
    answers = [httpx.Response(201, json={"ids": ids}) for ids in (["a", "b"], ["a", "c"])]
    evidence, _ = await submitted(list(answers), times=2)
    assert evidence.told_apart == [("chaos-1-1", "b", "c")]


async def test_a_refusal_for_good_is_no_acknowledgement() -> None:
    evidence, _ = await submitted([httpx.Response(409, text="other params")])
    assert evidence.acked == {}
    assert evidence.refused_keys["chaos-1-0"] == "409: other params"


class OneProcess:
    """A system that consists of one process that sleeps."""

    def __init__(self) -> None:
        self.process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)

    def find(self, *_parts: str) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid)]


@pytest.fixture
def one() -> Iterator[OneProcess]:
    system = OneProcess()
    yield system
    with contextlib.suppress(psutil.NoSuchProcess):
        system.process.kill()
    system.process.wait(10)


async def state_becomes(process: psutil.Process, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while process.status() != wanted:
        assert time.monotonic() < deadline, process.status()
        await asyncio.sleep(0.01)


async def test_a_stopped_process_goes_on_after_its_time(one: OneProcess) -> None:
    done = await Striker(one).strike(Fault("reaper", STOP, None, 0.2, 0, False))  # type: ignore[arg-type]
    assert done is not None
    assert (done[0].kind, done[0].processes) == ("reaper", 1)
    await state_becomes(one.process, psutil.STATUS_STOPPED)
    assert done[1] is not None
    await done[1]
    await state_becomes(one.process, psutil.STATUS_SLEEPING)


async def test_what_still_stands_at_the_end_is_released(one: OneProcess) -> None:
    striker = Striker(one)  # type: ignore[arg-type]
    done = await striker.strike(Fault("reaper", STOP, 0.5, 60, 0, False))
    await state_becomes(one.process, psutil.STATUS_STOPPED)
    striker.release()
    await state_becomes(one.process, psutil.STATUS_SLEEPING)
    assert done is not None
    assert done[1] is not None
    done[1].cancel()


async def test_a_killed_process_is_gone(one: OneProcess) -> None:
    done = await Striker(one).strike(Fault("reaper", KILL, 0.99, 0, 0, False))  # type: ignore[arg-type]
    assert done is not None
    assert done[1] is None
    assert one.process.wait(10) == -9


async def test_the_skill_says_in_its_journal_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(skills.JOURNAL, str(tmp_path / "journal"))
    skills._journal.cache_clear()
    context = SkillContext("task", 2, 17, "key", structlog.get_logger())
    done = await skills.work(skills.Work(n=1, sleep_ms=1), context)
    cut = asyncio.create_task(skills.work(skills.Work(n=1, sleep_ms=10_000), context))
    await asyncio.sleep(0)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    runs = read_journal((tmp_path / "journal").read_text().splitlines())
    (other,) = set(runs) - {done.run}
    assert (runs[done.run].task, runs[done.run].token, done.token) == ("task", 17, 17)
    assert runs[done.run].ended is not None
    assert (runs[other].ended, runs[other].cut) == (None, True)
    skills._journal.cache_clear()


def test_counts_add_up_over_the_lives_of_a_dispatcher() -> None:
    samples = [
        {"a": {"stale": 2, "sessions": 1, "completed": 10}, "b": {"stale": 0, "sessions": 1, "completed": 3}},
        {"a": {"stale": 5, "sessions": 2, "completed": 40}},
        {"a": {"stale": 1, "sessions": 1, "completed": 5}},
        {"a": {"stale": 6, "sessions": 1, "completed": 2}},
    ]
    assert total_stale(samples) == 5 + 1 + 6


def test_a_count_that_nobody_tells_is_unknown_not_nought() -> None:
    assert total_stale([{}, {"a": {"sessions": 1}}]) is None


def test_recovery_is_told_by_kind_with_those_that_never_came() -> None:
    struck = [Struck("reaper", KILL, 0, 1, service_s=s) for s in (1.0, 3.0, 2.0)]
    struck += [Struck("reaper", STOP, 0, 1), Struck("dispatcher", KILL, 0, 1, service_s=0.5, flight_s=4.0)]
    times = {(t.kind, t.signal): t for t in by_kind(struck)}
    assert (times["reaper", KILL].service, times["reaper", KILL].flight, times["reaper", KILL].never) == (
        (2, 3),
        None,
        0,
    )
    assert (times["reaper", STOP].service, times["reaper", STOP].never) == (None, 1)
    assert times["dispatcher", KILL].flight == (4.0, 4.0)


def test_running_tasks_are_those_that_had_begun_and_not_ended() -> None:
    fault = Struck("dispatcher", KILL, 10.0, 1)
    runs = [Run("a", 1, 1, 9.0), Run("a", 4, 2, 14.0), Run("b", 2, 1, 8.0), Run("c", 3, 1, 11.0), Run("d", 5, 1, 9.5)]
    ends = {"a": 16.0, "b": 9.9, "c": 40.0, "d": None}
    in_flight([fault], runs, {i: Shown("completed", 1, 2, i, 0.0, end) for i, end in ends.items()})
    assert fault.flight_s == 6.0
