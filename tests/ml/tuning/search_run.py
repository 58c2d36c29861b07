"""Runs `ml.tune` on a real Ray the way workers do, and kills what can be killed. Prints what it saw as JSON.

Ray's state is process-wide, so the test starts this as a process of its own: `search_run.py ADDRESS`.
"""

import asyncio
import json
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import ray

from seedcore.errors import SeedCoreError
from seedcore.ml.skills import ml_tune
from seedcore.ml.tuning.trial_log import trials_of
from seedcore.schemas.ml.tuning import TuneRequest
from seedcore.settings import get_settings
from seedcore.skills.context import SkillContext
from seedcore.skills.reports import SkillProgress
from seedcore.stores.postgres import Database

TRIALS = 6
ROUNDS = 1200
TRIAL = ("BoostedTrial", "_Inner")
"""Titles of a trial's process: while it begins, and when it trains."""
BEGAN = time.monotonic()


class Notes:
    """Keeps what a job says of itself."""

    def __init__(self) -> None:
        self.said: list[SkillProgress] = []

    def report(self, task_id: str, token: int, progress: SkillProgress) -> None:
        self.said.append(progress)


@ray.remote(num_cpus=0)
class Host:
    """Stands for a worker: a process whose loop runs the skill."""

    def __init__(self) -> None:
        self._notes = Notes()

    async def run(self, request: dict[str, Any], job_id: str, attempt: int) -> dict[str, Any]:
        context = SkillContext(job_id, attempt, attempt, job_id, logging.getLogger("ml.tune"), sink=self._notes)
        try:
            answer = await ml_tune(TuneRequest.model_validate(request), context)
        except SeedCoreError as error:
            return {"error": error.code, "detail": error.detail, "transient": error.transient}
        return answer.model_dump(mode="json")

    async def said(self) -> list[Any]:
        return list(self._notes.said)

    async def pid(self) -> int:
        return psutil.Process().pid


@ray.remote(num_cpus=2)
class Hog:
    """Holds all CPUs."""

    async def pid(self) -> int:
        return psutil.Process().pid


def processes(*prefixes: str) -> list[psutil.Process]:
    """Ray's processes whose title begins so, of this Ray alone."""
    raylet = psutil.Process(RAYLET)
    return [p for p in raylet.children(recursive=True) if _title(p).startswith(tuple(f"ray::{p}" for p in prefixes))]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def request(**more: Any) -> dict[str, Any]:
    rng = random.Random(3)
    rows = []
    for _ in range(1200):
        x = [round(rng.uniform(-3, 3), 3) for _ in range(6)]
        rows.append([*x, int(x[0] * x[1] + x[2] + rng.gauss(0, 1) > 0)])
    data = {"name": "tuned", "columns": [*"abcdef", "label"], "rows": rows, "label_column": "label"}
    space = {
        "learning_rate": {"type": "float", "low": 0.02, "high": 0.3, "log": True},
        "max_depth": {"type": "int", "low": 6, "high": 9},
    }
    return {**data, "space": space, "trials": TRIALS, "rounds": ROUNDS, "parallel": 2, "time_limit_s": 60, **more}


async def until(condition: Any, deadline_s: float = 60.0) -> Any:
    """Ask until it is true."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = await condition()
        if found:
            return found
        await asyncio.sleep(0.1)
    raise TimeoutError(condition.__name__)


async def kill_one() -> bool:
    """Kill the process of a trial that runs."""
    for process in processes("_Inner.train"):
        process.kill()
        return True
    return False


async def gone(*prefixes: str) -> bool:
    return not processes(*prefixes)


async def survive_kills(database: Database, out: dict[str, Any]) -> None:
    job_id = str(uuid4())

    async def trials() -> list[Any]:
        async with database.connection() as connection:
            return await trials_of(connection, UUID(job_id))

    async def ended() -> list[Any]:
        return [t for t in await trials() if t.status != "running"]

    host = Host.remote()
    first = host.run.remote(request(), job_id, 1)
    await until(ended)
    say("a trial has ended")

    await until(kill_one)
    known = len(await ended())

    async def another() -> bool:
        return len(await ended()) > known

    await until(another)
    say("another has ended after a trial's process was killed")
    psutil.Process(await host.pid.remote()).kill()
    out["first"] = await lost(first)
    say("the host was killed")
    before = await ended()
    began = time.monotonic()
    await until(lambda: gone(*TRIAL, "TuningDriver"))
    out["orphans_gone_s"] = time.monotonic() - began

    say("its processes have gone")
    host = Host.remote()
    second = host.run.remote(request(), job_id, 2)
    known = len(before)
    await until(another)
    processes("TuningDriver")[0].kill()
    out["second"] = await second

    say(f"the driver was killed: {out['second']}")
    out["third"] = await host.run.remote(request(), job_id, 3)
    say("the third attempt has ended")
    after = {t.trial: t for t in await trials()}
    out["ended_before"] = len(before)
    out["unchanged"] = all(after[t.trial] == t for t in before)
    out["trials"] = [[t.trial, t.status, t.scores, t.params] for t in after.values()]
    out["again"] = await host.run.remote(request(), job_id, 4)
    settings = get_settings()
    out["left"] = [str(p) for p in (settings.models_dir / ".jobs").rglob("*") if p.is_file()]
    out["ray_results"] = (Path.home() / "ray_results").exists()
    async with database.connection() as connection:
        out["aliases"] = [
            list(row) for row in await connection.fetch("select alias, version from seedcore.model_aliases")
        ]


def say(what: str) -> None:
    """Where it is, should it fail."""
    print(what, round(time.monotonic() - BEGAN, 1), file=sys.stderr, flush=True)


async def lost(answer: Any) -> str:
    try:
        await answer
    except ray.exceptions.RayActorError:
        return "lost"
    return "answered"


async def cancel(out: dict[str, Any]) -> None:
    host = Host.remote()
    running = host.run.remote(request(trials=50), str(uuid4()), 1)

    async def trial_runs() -> bool:
        return bool(processes(*TRIAL))

    await until(trial_runs)
    began = time.monotonic()
    ray.cancel(running)
    await until(lambda: gone(*TRIAL, "TuningDriver"))
    out["cancelled_s"] = time.monotonic() - began


async def starve(out: dict[str, Any]) -> None:
    hog = Hog.remote()
    await hog.pid.remote()
    host = Host.options(runtime_env={"env_vars": {"SEEDCORE_TUNE_WAIT_S": "1.5"}}).remote()
    out["starved"] = await host.run.remote(request(), str(uuid4()), 1)
    out["starved_notes"] = [said.get("note") for said in await host.said.remote()]


async def main() -> dict[str, Any]:
    out: dict[str, Any] = {}
    database = Database(get_settings(), size=2)
    steps = (survive_kills(database, out), cancel(out), starve(out))
    for step in steps:
        began = time.monotonic()
        await step
        out.setdefault("seconds", []).append(round(time.monotonic() - began, 1))
    await database.aclose()
    return out


if __name__ == "__main__":
    address, RAYLET = sys.argv[1], int(sys.argv[2])
    ray.init(address=address, namespace="tuning", log_to_driver=False)
    print(json.dumps(asyncio.run(main())))
