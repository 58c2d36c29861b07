"""One seed: a SeedCore of its own, tasks and faults at once, then the verdict.

Every seed gets a fresh system: what an earlier one broke (restart budgets, stray processes, history) can neither cause
nor hide a finding, and a seed can be run again by itself.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import httpx

from benchmarks.chaos import skills
from benchmarks.chaos.counters import Counters
from benchmarks.chaos.evidence import ENDED, Evidence, read_journal
from benchmarks.chaos.impostor import Impostor
from benchmarks.chaos.judge import Verdict, judge
from benchmarks.chaos.load import TIMEOUT_S, Load
from benchmarks.chaos.plan import KINDS, faults
from benchmarks.chaos.recovery import Struck, in_flight
from benchmarks.chaos.strike import Striker
from benchmarks.chaos.witness import AWAY, Witness
from benchmarks.system import System
from seedcore.settings import load_settings

ROOT = Path(__file__).parents[2]
RECOVER_S = 60.0
"""A fault from which no new task completes for this long is said to have no recovery; the run goes on."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a seed is run with; times in seconds."""

    tasks: int
    rate: float
    kills_every_s: float
    lease_s: float
    patience_s: float
    keep: Path | None = None
    only: tuple[str, ...] = tuple(KINDS)


@dataclass(slots=True)
class Trial:
    """What became of a seed."""

    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    struck: list[Struck] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    stale_counted: int | None = None
    repeated: int = 0
    looks: int = 0
    against_holders: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Nothing to find, and the run was one: something was struck while the witness looked."""
        return self.verdict.clean and bool(self.struck) and self.looks > 0


T = TypeVar("T")
Tell = Callable[[int, int, int], None]
"""Told (acknowledged, ended, faults) while it goes on."""


def run_seed(seed: int, options: Options, tell: Tell) -> Trial:
    """Start, strike, judge, stop.

    Raises:
        RuntimeError: SeedCore did not start.
    """
    with TemporaryDirectory(prefix="chaos") as folder:
        journal = Path(folder) / "journal"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {
            "SEEDCORE_LEASE_S": str(options.lease_s),
            # Who is struck from outside is no poison: quarantined skills would run one task at a time.
            "SEEDCORE_POISON_AFTER": "1000",
            "SEEDCORE_SKILLS": skills.__name__,
            "PYTHONPATH": path,
            "SEEDCORE_ORGANS_PATH": str(skills.organs_file(Path(folder))),
            skills.JOURNAL: str(journal),
        }
        with System(start_s=180.0, **environment) as system:
            system.wait_healthy(90)
            trial = asyncio.run(_Seed(system, seed, options, journal, tell).run())
            if options.keep is not None and not trial.clean:
                _keep(system, journal, options.keep / f"seed-{seed}")
            return trial


def _keep(system: System, journal: Path, folder: Path) -> None:
    """Copy what may explain a finding, before the system takes it away: its output, its logs, the skill's journal."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(system.log, folder)
    shutil.copy(journal, folder)
    settings = load_settings(data_dir=system.data_dir)
    for name, logs in (("stores", system.data_dir / "logs"), ("ray", settings.runtime_dir / "ray/session_latest/logs")):
        # Sockets and files that go meanwhile are no logs.
        shutil.copytree(logs, folder / name, dirs_exist_ok=True, ignore_dangling_symlinks=True)


class _Seed:
    def __init__(self, system: System, seed: int, options: Options, journal: Path, tell: Tell) -> None:
        self._system, self._options, self._journal, self._tell = system, options, journal, tell
        self._trial, self._evidence = Trial(seed), Evidence()
        self._impostor = Impostor(seed)
        self._witness = Witness(system.data_dir, self._evidence, self._impostor)
        self._striker = Striker(system)
        self._probes: list[asyncio.Task[None]] = []

    async def run(self) -> Trial:
        began = time.monotonic()
        planned = self._options.tasks / self._options.rate
        trial, options = self._trial, self._options
        client = httpx.AsyncClient(base_url=self._system.url, timeout=TIMEOUT_S)
        async with client, Counters(self._system.environment) as counters:
            load = Load(client, trial.seed, options.tasks, options.rate, self._evidence)
            quiet = asyncio.Event()
            watching = asyncio.create_task(self._witness.run(quiet))
            telling = asyncio.create_task(self._keep_telling())
            try:
                await self._storm(load, planned * 3 + options.patience_s)
                await self._settle(load, options.patience_s)
            finally:
                self._striker.release()
                quiet.set()
                telling.cancel()
                await watching
            await self._conclude(load)
            trial.stale_counted, trial.repeated = counters.stale(), load.repeated
        trial.against_holders = self._impostor.against_holders
        trial.looks, trial.seconds = self._witness.looks, time.monotonic() - began
        return trial

    async def _storm(self, load: Load, most_s: float) -> None:
        """Submit and strike until everything is submitted."""
        striking = asyncio.create_task(self._strike_on(load))
        submitting = asyncio.create_task(load.run())
        try:
            await asyncio.wait({striking, submitting}, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
            if striking.done():
                striking.result()
            if submitting.done():
                submitting.result()
        finally:
            for job in (striking, submitting):
                job.cancel()
            await asyncio.gather(striking, submitting, return_exceptions=True)
            self._striker.release()
        await asyncio.gather(*self._probes)

    async def _strike_on(self, load: Load) -> None:
        """One fault after the other; most wait until the one before is over, some come on top of it."""
        options = self._options
        under_way: set[asyncio.Task[None]] = set()
        alone = True
        for fault in faults(self._trial.seed, options.kills_every_s, options.lease_s, options.only):
            if under_way and not (fault.overlaps and alone):
                await asyncio.wait(under_way)
            under_way = {job for job in under_way if not job.done()}
            alone = not under_way
            await asyncio.sleep(fault.wait_s)
            done = await self._striker.strike(fault)
            if done is None:
                self._trial.missed.append(fault.kind)
                continue
            struck, stop = done
            self._trial.struck.append(struck)
            probe = asyncio.create_task(self._recovered(load, struck))
            self._probes.append(probe)
            under_way |= {probe, *([stop] if stop else [])}

    async def _recovered(self, load: Load, struck: Struck) -> None:
        """From the fault to the completion of a task that was submitted after it."""
        key = f"chaos-{self._trial.seed}-probe-{len(self._trial.struck)}"
        seen = await load.probe(key, asyncio.get_running_loop().time() + RECOVER_S)
        struck.service_s = None if seen is None else seen - struck.at

    async def _settle(self, load: Load, most_s: float) -> None:
        """Wait until every acknowledged task has ended, or the patience has."""
        deadline = time.monotonic() + most_s
        while time.monotonic() < deadline:
            if await load.idle() and await self._all_ended(load):
                return
            await asyncio.sleep(0.5)

    async def _all_ended(self, load: Load) -> bool:
        try:
            listed = await load.list_all()
        except httpx.HTTPError:
            return False
        ended = {task_id for task_id, task in listed.items() if task.status in ENDED}
        return set(self._evidence.acked.values()) <= ended

    async def _conclude(self, load: Load) -> None:
        evidence = self._evidence
        evidence.shown = await _patiently(load.list_all)
        await _patiently(self._look_last)
        with self._journal.open() as lines:
            evidence.runs = read_journal(lines)
        in_flight(self._trial.struck, evidence.runs.values(), evidence.shown)
        self._trial.verdict = judge(evidence)

    async def _look_last(self) -> None:
        async with self._witness.connected() as connection:
            await self._witness.conclude(connection)

    async def _keep_telling(self) -> None:
        while True:
            self._tell(len(self._evidence.acked), self._witness.ended, len(self._trial.struck))
            await asyncio.sleep(0.3)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the server comes back from the last fault.

    Raises:
        RuntimeError: it did not within RECOVER_S: nothing can be judged.
    """
    deadline = time.monotonic() + RECOVER_S
    while True:
        try:
            return await ask()
        except (httpx.HTTPError, *AWAY) as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"SeedCore did not come back after the last fault: {error!r}") from error
            await asyncio.sleep(0.5)
