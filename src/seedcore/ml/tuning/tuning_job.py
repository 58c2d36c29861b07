"""One attempt of the task `ml.tune`: it goes on where earlier ones ended, searches, trains, and sets the candidate."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

from seedcore.errors import SkillError, UnavailableError
from seedcore.ml.gate.promotions import Promotions, champion_of
from seedcore.ml.registry.aliases import lock_model, set_alias
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training.checkpoints import JOBS
from seedcore.ml.training.train_job import version_of_job
from seedcore.ml.tuning.search_plan import SearchPlan
from seedcore.ml.tuning.trial_board import SearchNews
from seedcore.ml.tuning.trial_log import forget_old_trials, trials_of, write_trials
from seedcore.ml.tuning.trial_record import BestTrial, TrialRecord, best_of, metric_for
from seedcore.ml.tuning.tune_terms import TuneTerms, plan_of, read_terms
from seedcore.schemas.ml.models import Task
from seedcore.schemas.ml.tuning import TuneRequest, TuneResult
from seedcore.settings import Settings
from seedcore.skills.context import SkillContext
from seedcore.stores.postgres import Database

BY = "ml.tune"
"""Who sets the candidate."""

Proposal = Literal["candidate", "shadowing", "promoted", "refused"]

POLL_S = 1.0
"""So often a search that says nothing is asked how it is."""
_PAUSE_S = 0.2
"""Between two writes of trials."""


class SearchRunner(Protocol):
    """Where the data, the trials and the training are."""

    async def load(self) -> Task:
        """Read the data; the kind of its labels."""

    def search(self, plan: SearchPlan, poll_s: float) -> AsyncIterator[SearchNews]:
        """Run the trials that are left; what happens, at least once in `poll_s`."""

    async def train(self, params: dict[str, float | int]) -> ModelManifest:
        """Train and store the model."""


StartRunner = Callable[[Path], AbstractAsyncContextManager[SearchRunner]]
"""Starts what runs a search, with a folder for its own files; the end of the block ends it, whatever it does."""


@dataclass(slots=True)
class _Seen:
    """What is known of the job's trials."""

    trials: dict[str, TrialRecord]
    timed_out: bool = False
    error: str = ""

    def count(self, status: str) -> int:
        return sum(trial.status == status for trial in self.trials.values())


class TuningJob:
    """One attempt.

    Args:
        request: what is asked for.
        context: of the task.
        settings: the CPUs of a trial, and how long to wait for them.
        database: where trials and aliases are kept.
        start: starts what runs the search.
    """

    def __init__(
        self, request: TuneRequest, context: SkillContext, settings: Settings, database: Database, start: StartRunner
    ) -> None:
        self._request, self._context, self._settings = request, context, settings
        self._database, self._start = database, start
        self._job_id = UUID(context.task_id)
        self._store = ModelStore(settings.models_dir)

    async def run(self) -> TuneResult:
        """Search, train, store, and set the candidate; what an earlier attempt did is not done again.

        Raises:
            InvalidInputError: names what is wrong with the request or its data.
            UnavailableError: no CPU became free for a trial, or the search's process died; another attempt goes on.
            SkillError: every trial failed.
        """
        terms = read_terms(self._request)
        name = self._request.name
        async with self._database.connection() as connection:
            await forget_old_trials(connection, max(1, int(self._settings.retention_dead_d)))
            past = await trials_of(connection, self._job_id)
        seen = _Seen({trial.trial: trial for trial in past})
        stored = await asyncio.to_thread(version_of_job, self._store, name, self._context.task_id)
        if stored is None:
            stored, best, metric = await self._search_and_train(terms, seen)
        else:
            metric = metric_for(stored.task, self._request.metric)
            best = self._best(seen, metric)
        promotion = await propose(self._settings, self._database, name, stored.version, self._context.task_id)
        return TuneResult(
            name=name,
            version=stored.version,
            metric=metric,
            score=best.score,
            rounds=best.rounds,
            params=stored.params,
            held_out=stored.metrics,
            intervals=stored.intervals,
            completed=seen.count("completed"),
            pruned=seen.count("pruned"),
            failed=seen.count("failed"),
            timed_out=seen.timed_out or len(seen.trials) < terms.trials,
            promotion=promotion,
        )

    async def _search_and_train(self, terms: TuneTerms, seen: _Seen) -> tuple[ModelManifest, BestTrial, str]:
        folder = self._settings.models_dir / JOBS / self._context.task_id / "tune"
        async with self._start(folder) as runner:
            await self._context.progress(0, terms.trials, "reading the data")
            task = await runner.load()
            past = tuple(seen.trials.values())
            plan = plan_of(self._request, terms, task, past, self._settings.tune_trial_cpus)
            if plan.left:
                await self._follow(runner, plan, seen)
            best = self._best(seen, plan.metric)
            await self._context.progress(self._ended(seen), terms.trials, "training the model on all rows")
            stored = await runner.train({**best.params, "num_boost_round": best.rounds})
        return stored, best, plan.metric

    async def _follow(self, runner: SearchRunner, plan: SearchPlan, seen: _Seen) -> None:
        began = idle_since = time.monotonic()
        note: str | None = "starting the trials"
        said: tuple[int, str | None] | None = None
        async for news in runner.search(plan, POLL_S):
            if news.trials:
                seen.trials.update({trial.trial: trial for trial in news.trials})
                async with self._database.connection() as connection:
                    await write_trials(connection, self._job_id, news.trials)
            seen.error = news.error or seen.error
            if news.running or news.trials:
                idle_since, note = time.monotonic(), None
            elif news.cpus is not None and news.cpus[0] < plan.trial_cpus:
                note = _waiting(plan, news.cpus)
            now = (self._ended(seen), note)
            if now != said:
                said = now
                await self._context.progress(now[0], plan.trials, note)
            if news.cpus is not None and time.monotonic() - idle_since > self._settings.tune_wait_s:
                waited = f"No trial began within {self._settings.tune_wait_s:g} s (SEEDCORE_TUNE_WAIT_S)"
                raise UnavailableError(f"{waited}: {_waiting(plan, news.cpus)}.", retry_after_s=30)
            if time.monotonic() - began > plan.time_limit_s:
                seen.timed_out = True
                break
            if not news.over:
                await asyncio.sleep(_PAUSE_S)
        await self._end_running(seen)

    async def _end_running(self, seen: _Seen) -> None:
        """The time limit ended the trials that still run."""
        cut = [replace(trial, status="pruned") for trial in seen.trials.values() if trial.status == "running"]
        if cut:
            seen.trials.update({trial.trial: trial for trial in cut})
            async with self._database.connection() as connection:
                await write_trials(connection, self._job_id, cut)

    def _best(self, seen: _Seen, metric: str) -> BestTrial:
        best = best_of(seen.trials.values(), metric)
        if best is None:
            raise SkillError(
                f"No trial of {len(seen.trials)} gave a score" + (f": {seen.error}" if seen.error else "."),
                retryable=False,
            )
        return best

    def _ended(self, seen: _Seen) -> int:
        return len(seen.trials) - seen.count("running")


def _waiting(plan: SearchPlan, cpus: tuple[float, float]) -> str:
    free, total = cpus
    needs = f"waiting for CPUs: a trial needs {plan.trial_cpus:g} (SEEDCORE_TUNE_TRIAL_CPUS)"
    return f"{needs}, and {free:g} of Ray's {total:g} are free"


async def propose(settings: Settings, database: Database, name: str, version: int, job_id: str) -> Proposal:
    """Make the version the candidate: the gate lets it shadow the champion; where there is none, the alias is all.

    Raises:
        NotFoundError: the version was deleted meanwhile.
    """
    store, reason = ModelStore(settings.models_dir), f"tuned by task {job_id}"
    async with database.transaction() as connection:
        await lock_model(connection, name)
        if await champion_of(connection, name) is None:
            await asyncio.to_thread(store.manifest, name, version)
            await set_alias(connection, name, "candidate", version, set_by=BY, reason=reason)
            return "candidate"
    answer = await Promotions(settings, store, database).promote(name, version, reason=reason, by=BY)
    return answer.status
