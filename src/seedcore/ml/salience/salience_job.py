"""Learns the salience as a job: reads ended tasks, trains, and makes the version champion when it is better."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import asyncpg

from seedcore.errors import DeadlineError, SeedCoreError
from seedcore.ml.data.dataset import TrainLimits
from seedcore.ml.gate.promotion_repository import (
    NewPromotion,
    PromotionStatus,
    insert_promotion,
    open_promotion,
    page_of_promotions,
)
from seedcore.ml.gate.promotions import champion_of, withdraw
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.registry.aliases import lock_model, set_alias
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.salience.outcome_rows import OutcomeRow, outcome_rows
from seedcore.ml.salience.salience_scorer import NAME, foretell
from seedcore.ml.salience.salience_training import Champion, train_salience
from seedcore.ml.training.checkpoints import job_folder
from seedcore.ml.training.model_draft import reference_file
from seedcore.ml.training.train_job import version_of_job
from seedcore.schemas.ml.salience import LearnedSalience, LearnSalience
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.history import EndedWork, ended_work
from seedcore.telemetry.metrics import counter

LEARNER = "ml.learn-salience"
MIN_TASKS = 500
"""Ended tasks without which nothing is trained."""

DECIDED = 100
"""Promotions that are looked through for one of the same version: an attempt is repeated soon, or never."""

LEAST_GAIN = 0.02
"""The share of the formula's loss that a gain must exceed: a smaller one is no reason to give up a known formula."""

TEST = "95 % lower bound of the gain on the newest fifth, from means of 20 blocks in time order (Student's t)"


def run_salience_job(
    request: LearnSalience, settings: Settings, job_id: str, report: Callable[[int, int], None]
) -> LearnedSalience:
    """Train one version for a job and decide about it; an attempt that is repeated goes on from what is stored.

    Args:
        report: is called after each round with (rounds done, rounds in all).

    Raises:
        DeadlineError: the tasks could not be read within SEEDCORE_HISTORY_QUERY_S.
        TooLargeError: there are more rows than SEEDCORE_MAX_TRAIN_ROWS.
        UnavailableError: the database, the disk or another attempt is in the way; a later attempt may succeed.
    """
    store = ModelStore(settings.models_dir)
    store.prepare()
    with job_folder(settings.models_dir, job_id):
        stored = version_of_job(store, NAME, job_id)
        if stored is None:
            tasks, champion = asyncio.run(_read(settings, request))
            if len(tasks) < MIN_TASKS:
                reason = f"{len(tasks)} tasks have ended; {MIN_TASKS} are needed"
                return LearnedSalience(status="not_trained", reason=reason, rows=len(tasks))
            rows = outcome_rows(tasks)
            if len({row.target for row in rows}) < 2:
                reason = f"all {len(tasks)} tasks ended alike: there is nothing to learn"
                return LearnedSalience(status="not_trained", reason=reason, rows=len(rows))
            asked = None if champion is None else _answering(store, champion)
            manifest, trained = train_salience(rows, TrainLimits.of(settings), request.seed, job_id, asked, report)
            stored = store.save(trained.ubj, manifest, reference_file(trained))
        return asyncio.run(_decide(settings, stored))


async def _read(settings: Settings, request: LearnSalience) -> tuple[list[EndedWork], int | None]:
    database = Database(settings, size=1, name="seedcore-salience")
    limit_s = settings.history_query_s
    try:
        async with asyncio.timeout(limit_s), database.connection() as connection:
            champion = await champion_of(connection, NAME)
            async with connection.transaction(readonly=True):
                await connection.execute("select set_config('statement_timeout', $1, true)", str(int(1000 * limit_s)))
                return await ended_work(connection, request.rows, request.window_s), champion
    except TimeoutError:
        message = f"Reading the history took longer than {limit_s:g} s (SEEDCORE_HISTORY_QUERY_S): ask for fewer rows."
        raise DeadlineError(message) from None
    finally:
        await database.aclose()


def _answering(store: ModelStore, version: int) -> Champion | None:
    """The champion; None when it cannot be asked, so that a new version need not beat it."""
    try:
        model = LoadedModel(*store.load(NAME, version))
        foretell(model, [])
    except SeedCoreError:
        return None

    def ask(rows: Sequence[OutcomeRow]) -> list[float]:
        return foretell(model, [row.features for row in rows])

    return Champion(version, model.manifest.created_at.timestamp(), ask)


async def _decide(settings: Settings, stored: ModelManifest) -> LearnedSalience:
    """Make a version champion or not, in one transaction; once, however often it is asked."""
    database = Database(settings, size=1, name="seedcore-salience")
    try:
        async with database.transaction() as connection:
            await lock_model(connection, NAME)
            answer = await _decide_locked(connection, stored)
    finally:
        await database.aclose()
    return answer


async def _decide_locked(connection: asyncpg.Connection, stored: ModelManifest) -> LearnedSalience:
    version, metrics = stored.version, stored.metrics
    answer = LearnedSalience(status="kept", reason="", rows=stored.n_rows, version=version, metrics=metrics)
    decided = [p for p in await page_of_promotions(connection, NAME, None, DECIDED) if p.candidate == version]
    if decided:
        status: Literal["champion", "kept"] = "kept" if decided[-1].status == "refused" else "champion"
        return answer.model_copy(update={"status": status, "reason": decided[-1].reason or ""})
    champion = await champion_of(connection, NAME)
    reason = why_not_better(metrics, champion)
    outcome: PromotionStatus = "promoted" if reason is None else "refused"
    said = reason or _why_better(metrics)
    if outcome == "promoted":
        # A caller may have opened one: the version that it shadows is replaced.
        await withdraw(connection, await open_promotion(connection, NAME), "a version was promoted")
        await set_alias(connection, NAME, "champion", version, set_by=LEARNER, reason=said)
    new = NewPromotion(NAME, champion, version, {"test": TEST}, opened_by=LEARNER, reason=said)
    await insert_promotion(connection, new, outcome, {"decided_by": "held-out rows", "metrics": metrics})
    counter("seedcore_promotions_total").add(1, outcome=outcome)
    return answer.model_copy(update={"status": "champion" if reason is None else "kept", "reason": said})


def why_not_better(metrics: dict[str, float], champion: int | None) -> str | None:
    """Why a version may not answer, by the metrics of `train_salience` and the champion now; None: it may."""
    needed = LEAST_GAIN * metrics["loss_formula"]
    if metrics["gain_low"] <= needed:
        return (
            f"its loss {metrics['loss']:.5f} on held-out rows is not surely lower than the formula's "
            f"{metrics['loss_formula']:.5f} by a fiftieth: the gain exceeds {metrics['gain_low']:.5f} with 95 % "
            f"confidence, and must exceed {needed:.5f}"
        )
    compared = int(metrics["champion"])
    if compared and champion is not None and compared != champion:
        return f"version {champion} became champion while it was compared with version {compared}: learn again"
    if compared and metrics["champion_loss_low"] > 0.0:
        return (
            f"its loss {metrics['loss']:.5f} on held-out rows is higher than the champion's "
            f"{metrics['loss_champion']:.5f}: by more than {metrics['champion_loss_low']:.5f} with 95 % confidence"
        )
    return None


def _why_better(metrics: dict[str, float]) -> str:
    return (
        f"its loss {metrics['loss']:.5f} on held-out rows is lower than the formula's {metrics['loss_formula']:.5f}: "
        f"the gain exceeds {metrics['gain_low']:.5f} with 95 % confidence"
    )
