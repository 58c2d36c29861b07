"""Runs a search on Ray: a driver in an actor of its own, whose trials are Ray Tune's, searched by Optuna.

The driver's process holds Ray Tune, so that workers and services never import it. Ray ends the trials with the driver,
and the driver with the worker that started it: killing it cancels the search, and nothing outlives a worker that was
killed.
"""

import asyncio
import logging
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray._raylet import PlacementGroupID
from ray.exceptions import RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.tuning.search_plan import REDUCTION, SearchPlan
from seedcore.ml.tuning.search_space import optuna_space
from seedcore.ml.tuning.trial_board import SearchNews, TrialBoard
from seedcore.ml.tuning.trial_booster import TrialBooster, TrialData
from seedcore.ml.tuning.tuning_work import TuningWork
from seedcore.schemas.ml.models import Task
from seedcore.schemas.ml.tuning import TuneRequest
from seedcore.settings import get_settings

MAX_TRIAL_FAILURES = 2
"""So often a trial whose process dies is begun again."""
_DRIVER = "seedcore-tuning-"  # Begins the names of drivers; what their trials reserve is named by them.
_SCORE, _ROUNDS = "score", "rounds"
# Ray Tune reads these. Its own reporters and loggers would write what nothing reads, and a folder for each trial.
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class TuningDriver:
    """The process that drives one search; its methods run side by side, in threads."""

    def __init__(self, request: TuneRequest, job_id: str, tenant: str) -> None:
        self._work = TuningWork(request, job_id, tenant, get_settings())
        self._data: TrialData | None = None
        self._board: TrialBoard | None = None

    def load(self) -> Task:
        """Read the data; the kind of its labels."""
        self._data = self._work.load()
        return self._data.task

    def train(self, params: dict[str, float | int]) -> ModelManifest:
        """Train and store the model."""
        return self._work.train(params)

    def begin(self, plan: SearchPlan) -> None:
        """Take the terms of the search; then `search` runs it, and `news` follows it."""
        self._board = TrialBoard(plan)

    def search(self, plan: SearchPlan, folder: str, driver: str) -> None:
        """Run the trials that are left; Ray Tune's own files go below `folder`. `driver` is this actor's name."""
        from ray import tune

        assert self._board is not None
        _quieten()
        shutil.rmtree(folder, ignore_errors=True)
        trainable: Any = tune.with_parameters(_trainable(driver, plan.trial_cpus), data=self._data, plan=plan)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_searcher(plan),
                scheduler=_scheduler(plan),
                num_samples=plan.left,
                max_concurrent_trials=plan.parallel,
                time_budget_s=plan.time_limit_s,
                reuse_actors=True,
                metric=_SCORE,
                mode=plan.mode,
            ),
            run_config=tune.RunConfig(
                name=Path(folder).parent.name,
                storage_path=folder,
                callbacks=[_board_callback(self._board)],
                failure_config=tune.FailureConfig(max_failures=MAX_TRIAL_FAILURES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                stop={_ROUNDS: plan.rounds},
                verbose=0,
            ),
        )
        tuner.fit()

    def news(self, seen: int, wait_s: float) -> SearchNews:
        """What happened after `seen`; waits for it for at most `wait_s`."""
        assert self._board is not None
        news = self._board.news(seen, wait_s)
        if news.running:
            return news
        free, total = ray.available_resources().get("CPU", 0.0), ray.cluster_resources().get("CPU", 0.0)
        return replace(news, cpus=(free, total))


def _quieten() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _trainable(driver: str, cpus: float) -> type:
    """The class that Ray Tune makes actors of; it is made here, as importing this module imports no Ray Tune."""
    from ray import tune

    class NamedGroup(tune.PlacementGroupFactory):
        def to_placement_group(self) -> Any:
            return ray.util.placement_group([{"CPU": cpus}], name=f"{driver}/{uuid.uuid4().hex}")

    class BoostedTrial(tune.Trainable):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> Any:
            return NamedGroup([{"CPU": cpus}])

        def setup(self, config: dict[str, Any], data: TrialData, plan: SearchPlan) -> None:  # type: ignore[override]
            logging.getLogger("ray.tune").setLevel(logging.ERROR)
            self._plan = plan
            self._booster = TrialBooster(data)
            self._booster.begin({**plan.fixed, **config})

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._booster.begin({**self._plan.fixed, **new_config})
            return True

        def step(self) -> dict[str, Any]:
            left = self._plan.rounds - self._booster.rounds
            metrics = self._booster.advance(min(self._plan.step, left))
            if self._plan.metric not in metrics:
                raise ValueError(f"the validation rows are too much alike to measure {self._plan.metric}")
            return {_SCORE: metrics[self._plan.metric], _ROUNDS: self._booster.rounds}

    return BoostedTrial


def _scheduler(plan: SearchPlan) -> Any:
    """ASHA, knowing what past trials reached at each rung; without pruning, first in, first out."""
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    if not plan.prune or plan.step >= plan.rounds:
        return FIFOScheduler()
    asha: Any = AsyncHyperBandScheduler(_ROUNDS, max_t=plan.rounds, grace_period=plan.step, reduction_factor=REDUCTION)
    asha.set_search_properties(_SCORE, plan.mode)
    plan.teach_scheduler(asha, _ROUNDS, _SCORE)
    # Tune gives both again, and the scheduler takes them only while it has none.
    asha._metric = asha._mode = None
    return asha


def _searcher(plan: SearchPlan) -> Any:
    """Optuna's TPE, knowing past trials; interrupted ones come first, as they were."""
    from ray.tune.search.optuna import OptunaSearch

    searcher: Any = OptunaSearch(
        space=optuna_space(plan.dimensions),
        metric=_SCORE,
        mode=plan.mode,
        seed=plan.sampler_seed,
        points_to_evaluate=[plan.point(trial) for trial in plan.interrupted],
    )
    plan.teach_searcher(searcher)
    return searcher


def _board_callback(board: TrialBoard) -> Any:
    from ray import tune

    class BoardCallback(tune.Callback):
        def __reduce__(self) -> tuple[Any, ...]:
            # Ray Tune stores the callbacks with its experiment; this search never resumes from there.
            return tune.Callback, ()

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            board.staging = str(Path(trial.storage.experiment_driver_staging_path).parent)
            board.begin(trial.trial_id, dict(trial.config))

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            board.report(trial.trial_id, int(result[_ROUNDS]), float(result[_SCORE]))

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            board.end(trial.trial_id)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            error = trial.get_error()
            board.fail(trial.trial_id, f"{type(error).__name__}: {str(error)[-300:]}")

    return BoardCallback()


class RaySearch:
    """A search that runs on Ray, as those who started it see it."""

    def __init__(self, driver: Any, name: str, folder: Path) -> None:
        self._driver, self._name, self._folder, self._staging = driver, name, folder, ""

    async def load(self) -> Task:
        """Read the data; the kind of its labels. It raises what `TuningWork.load` raises."""
        task: Task = await _answer(self._driver.load.remote())
        return task

    async def search(self, plan: SearchPlan, poll_s: float) -> AsyncIterator[SearchNews]:
        """Run the trials that are left; what happens, at least once in `poll_s`. See `_answer` for what it raises."""
        await _answer(self._driver.begin.remote(plan))
        running = asyncio.ensure_future(_answer(self._driver.search.remote(plan, str(self._folder), self._name)))
        seen, over = 0, False
        try:
            while not over:
                ended = running.done()
                if ended:
                    running.result()
                news: SearchNews = await _answer(self._driver.news.remote(seen, 0 if ended else poll_s))
                # Ray Tune takes seconds more to end its actors: they end with the driver.
                seen, over = news.seen, ended or news.over
                self._staging = news.staging or self._staging
                yield replace(news, over=over)
        finally:
            running.cancel()

    async def train(self, params: dict[str, float | int]) -> ModelManifest:
        """Train and store the model."""
        manifest: ModelManifest = await _answer(self._driver.train.remote(params))
        return manifest

    def close(self) -> list[Path]:
        """End the driver, and with it the trials; the folders that they wrote to."""
        ray.kill(self._driver, no_restart=True)
        _free_groups(lambda driver: driver == self._name)
        return [self._folder, *([Path(self._staging)] if self._staging else [])]


@asynccontextmanager
async def ray_search(request: TuneRequest, job_id: str, tenant: str, folder: Path) -> AsyncIterator[RaySearch]:
    """A driver on this node, for the length of the block; leaving it ends the trials.

    Args:
        request: what is searched; the driver reads the data, which crosses once, through Ray's object store.
        job_id: the task.
        tenant: whose history may be read.
        folder: for Ray Tune's own files; removed at the end.

    Raises:
        UnavailableError: this process is not part of a Ray.
    """
    if not ray.is_initialized():
        raise UnavailableError("Tuning runs trials on Ray, and this process is not connected to one.")
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    await asyncio.to_thread(_free_groups_of_the_dead)
    name = f"{_DRIVER}{job_id}-{uuid.uuid4().hex[:8]}"
    actor: Any = ray.remote(TuningDriver)
    options = {"name": name, "num_cpus": 0, "max_concurrency": 4, "scheduling_strategy": here}
    driver = actor.options(**options, runtime_env={"env_vars": _TUNE_ENVIRONMENT}).remote(request, job_id, tenant)
    search = RaySearch(driver, name, folder)
    try:
        yield search
    finally:
        for left in await asyncio.to_thread(search.close):
            await asyncio.to_thread(shutil.rmtree, left, True)


def _free_groups_of_the_dead() -> None:
    alive = {actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)}
    _free_groups(lambda name: name not in alive)


def _free_groups(of: Callable[[str], bool]) -> None:
    """Give back what the trials of some drivers, which are dead, had reserved: Ray keeps it for as long as its job."""
    for key, group in ray.util.placement_group_table().items():
        name = str(group["name"])
        if name.startswith(_DRIVER) and group["state"] != "REMOVED" and of(name.partition("/")[0]):
            ray.util.remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(key)))


async def _answer(reference: Any) -> Any:
    """What an actor answers, or the SeedCoreError that it raised; UnavailableError when its process died."""
    try:
        return await reference
    except RayActorError as error:
        raise UnavailableError(f"The process that drives the search died: {str(error)[:300]}") from None
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, SeedCoreError):
            raise cause from None
        raise UnavailableError(f"The search failed on Ray: {type(cause).__name__}: {str(cause)[:300]}") from None
