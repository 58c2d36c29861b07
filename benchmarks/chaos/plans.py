"""`python -m benchmarks.chaos --plans 500`: goals in waves, and a process killed at every step boundary of every wave.

The journal tells when a wave crosses a boundary: when a share of its plans has begun the first step, has ended the
first, the second or third, and so on to the last. Then one kind of process is killed, each kind in turn; there is one
more kind than boundaries, or one less, so that over the waves every kind is killed at every boundary.

Judged at the end, from the database and the journal alone: every goal completed; its plan has its six steps, each
with one end; each step's recorded result names a run that the journal saw to its end; and the goal's result is made
of exactly those runs.
"""

import asyncio
import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx
from rich.console import Console

from benchmarks.chaos import plan_skills, skills
from benchmarks.chaos.plan import BACKEND, KILL, Fault
from benchmarks.chaos.strike import Striker
from benchmarks.chaos.witness import AWAY, connected, dsn_of
from benchmarks.system import System

ROOT = Path(__file__).parents[2]
KINDS = (
    "worker",
    "agent host",
    "PostgreSQL",
    "Cognitive replica",
    BACKEND,
    "reaper",
    "Coordinator replica",
)
BOUNDARIES = ("begin 1", "end 1", "end 2", "end 4", "end 5", "end 6")
SHARE = 0.3
PATIENCE_S = 120.0

# Every goal with its steps, as they were recorded.
RECORDED = """
select g.id::text as goal, e.status, e.error_code, e.error_message, e.result->'chaos_6' as trail,
       (select jsonb_agg(jsonb_build_object('id', t.id, 'type', t.type, 'status', f.status, 'attempts', f.attempts,
               'trail', (select value from jsonb_each(f.result) limit 1)))
          from seedcore.tasks t left join seedcore.ended f on f.id = t.id where t.parent_id = g.id) as steps
from seedcore.tasks g left join seedcore.ended e on e.id = g.id where g.type = 'goal'
"""
ENDS = """
select id::text as id, count(*) as ends from (
  select unnest(coalesce(e.task_ids, array[e.task_id])) as id from seedcore.events e
  where e.event in ('completed', 'failed', 'cancelled')) x group by id having count(*) > 1
"""


@dataclass(slots=True)
class Outcome:
    """What a run showed; `wrong` names everything that must not be."""

    plans: int
    completed: int = 0
    steps: int = 0
    runs: int = 0
    retried: int = 0
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Every plan ended as it must, and something was killed."""
        return not self.wrong and self.completed == self.plans and bool(self.kills)

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        names = ("plans", "completed", "steps", "runs", "retried", "seconds", "missed", "wrong")
        return {**{name: getattr(self, name) for name in names}, "kills": dict(self.kills), "clean": self.clean}


def run_plans(count: int, waves: int, lease_s: float, console: Console) -> Outcome:
    """Start a system of its own, run `count` goals in `waves`, judge.

    Raises:
        RuntimeError: SeedCore did not start.
    """
    with TemporaryDirectory(prefix="chaos") as folder:
        journal = Path(folder) / "journal"
        journal.touch()
        environment = {
            "SEEDCORE_LEASE_S": str(lease_s),
            # Who is struck from outside is no poison: quarantined skills would run one task at a time.
            "SEEDCORE_POISON_AFTER": "1000",
            "SEEDCORE_SKILLS": plan_skills.__name__,
            # Every goal is planned: kills of the Cognitive service must not miss it.
            "SEEDCORE_RECIPE_AFTER": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "SEEDCORE_ORGANS_PATH": str(skills.organs_file(Path(folder))),
            skills.JOURNAL: str(journal),
        }
        with System(start_s=180.0, **environment) as system:
            system.wait_healthy(90)
            return asyncio.run(_Plans(system, journal, console).run(count, waves))


class _Plans:
    def __init__(self, system: System, journal: Path, console: Console) -> None:
        self._system, self._journal, self._console = system, journal, console
        self._striker = Striker(system)
        self._crossed: Counter[tuple[int, str]] = Counter()
        self._read = 0
        self._strikes = 0

    async def run(self, count: int, waves: int) -> Outcome:
        outcome, began = Outcome(count), time.monotonic()
        size = -(-count // waves)
        async with httpx.AsyncClient(base_url=self._system.url, timeout=6.0) as client:
            for wave in range(waves):
                numbers = range(wave * size, min(count, (wave + 1) * size))
                striking = asyncio.create_task(self._strike(wave, size, numbers, outcome))
                ids = await _submit(client, numbers)
                ended = await self._wait(ids)
                striking.cancel()
                await asyncio.gather(striking, return_exceptions=True)
                self._console.print(
                    f"wave {wave + 1}: {ended} of {len(ids)} ended, {sum(outcome.kills.values())} kills, "
                    f"{time.monotonic() - began:.0f} s",
                    highlight=False,
                )
        outcome.seconds = round(time.monotonic() - began, 1)
        async with self._connected() as connection:
            recorded = [dict(row) for row in await connection.fetch(RECORDED)]
            twice = {row["id"]: row["ends"] for row in await connection.fetch(ENDS)}
        with self._journal.open() as lines:
            judge(outcome, recorded, twice, [json.loads(line) for line in lines])
        return outcome

    async def _strike(self, wave: int, size: int, numbers: Sequence[int], outcome: Outcome) -> None:
        """At each boundary of the wave, one kind of process."""
        for boundary in BOUNDARIES:
            while self._passed(numbers, boundary) < SHARE * size:
                await asyncio.sleep(0.02)
            kind = KINDS[self._strikes % len(KINDS)]
            self._strikes += 1
            done = await self._striker.strike(Fault(kind, KILL, random.random(), 0.0, 0.0, False))
            if done is None:
                outcome.missed += 1
            else:
                outcome.kills[f"{kind} at {boundary}"] += 1

    def _passed(self, numbers: Sequence[int], boundary: str) -> int:
        """How many of these plans have crossed a boundary, by the journal."""
        with self._journal.open() as lines:
            lines.seek(self._read)
            while (line := lines.readline()).endswith("\n"):
                self._read = lines.tell()
                told = json.loads(line)
                self._crossed[told["n"], f"{told['what']} {told['level']}"] += 1
        return sum((n, boundary) in self._crossed for n in numbers)

    async def _wait(self, ids: Sequence[str]) -> int:
        """Until these goals have ended, or the patience has; returns how many ended."""
        deadline, ended = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < deadline and ended < len(ids):
            await asyncio.sleep(0.3)
            with contextlib.suppress(*AWAY):
                async with self._connected() as connection:
                    query = "select count(*) from seedcore.ended where id = any($1::text[]::uuid[])"
                    ended = await connection.fetchval(query, list(ids))
        return ended

    @contextlib.asynccontextmanager
    async def _connected(self) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                async with connected(dsn_of(self._system.data_dir)) as connection:
                    yield connection
                    return
            except (ConnectionError, asyncpg.CannotConnectNowError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.3)


async def _submit(client: httpx.AsyncClient, numbers: Sequence[int]) -> list[str]:
    """Submit goals under keys of their own, again until it is answered; returns their ids."""
    goal = {"goal": plan_skills.GOAL, "on_failure": "fail"}
    tasks = [
        {
            "type": "goal",
            "params": {**goal, "inputs": {"chaos_n": n}},
            "idempotency_key": f"plan-{n}",
            "max_attempts": 100,
        }
        for n in numbers
    ]
    while True:
        with contextlib.suppress(httpx.HTTPError):
            answer = await client.post("/api/v1/tasks/batch", json={"tasks": tasks})
            if answer.status_code == 201:
                ids: list[str] = answer.json()["ids"]
                return ids
            if answer.status_code < 500 and answer.status_code not in (404, 408, 429):
                raise RuntimeError(f"goals were refused: {answer.text[:500]}")
        await asyncio.sleep(0.2)


def judge(
    outcome: Outcome,
    recorded: Sequence[Mapping[str, Any]],
    twice: Mapping[str, int],
    journal: Sequence[Mapping[str, Any]],
) -> None:
    """Hold what was recorded against the journal; see the module."""
    whole = {told["run"] for told in journal if told["what"] == "end"}
    tasks_of = {told["run"]: told["task"] for told in journal if told["what"] == "begin"}
    outcome.runs = len(tasks_of)
    outcome.wrong += [f"task {task} ended {ends} times" for task, ends in twice.items()]
    if len(recorded) != outcome.plans:
        outcome.wrong.append(f"{len(recorded)} goals are recorded, {outcome.plans} were submitted")
    for row in recorded:
        goal, steps = row["goal"], json.loads(row["steps"] or "[]")
        if row["status"] != "completed":
            outcome.wrong.append(f"goal {goal}: {row['status']} {row['error_code']} {row['error_message']}")
            continue
        outcome.completed += 1
        outcome.steps += len(steps)
        outcome.retried += sum(step["attempts"] > 1 for step in steps)
        if sorted(step["type"] for step in steps) != sorted(plan_skills.NAMES):
            outcome.wrong.append(f"goal {goal}: its steps are {sorted(step['type'] for step in steps)}")
        own = set()
        for step in steps:
            run = (step["trail"] or [""])[-1]
            own.add(run)
            if step["status"] != "completed" or run not in whole or tasks_of.get(run) != step["id"]:
                outcome.wrong.append(f"goal {goal}: step {step['type']} {step['status']} names the run {run!r}")
        if set(json.loads(row["trail"] or "[]")[1:]) != own:
            outcome.wrong.append(f"goal {goal}: its result is not made of its steps' recorded runs")
