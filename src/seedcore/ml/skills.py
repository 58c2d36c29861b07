"""The skills of the room: `ml.predict` answers as `/ml/xgboost/predict`; the others are the jobs that it submits."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from seedcore.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SeedCoreError,
    SkillError,
    TooLargeError,
    UnavailableError,
)
from seedcore.ml.job_outcomes import job_errors
from seedcore.schemas.ml.models import PredictRequest, PredictResponse, TrainRequest, TrainResponse
from seedcore.schemas.ml.retraining import RetrainRequest, RetrainResult
from seedcore.schemas.ml.salience import LearnedSalience, LearnSalience
from seedcore.schemas.ml.tuning import TuneRequest, TuneResult
from seedcore.skills.skill_decorator import SkillClients, SkillContext, skill

if TYPE_CHECKING:
    from seedcore.ml.predicting.local_predictions import LocalPredictions

_PREDICTIONS = "seedcore.ml.predicting.local_predictions"

# A retry would raise these again.
_NOT_RETRYABLE = (InvalidInputError, NotFoundError, ConflictError, TooLargeError)


async def get_ready(clients: SkillClients) -> None:
    """Get what the first prediction needs."""
    await asyncio.to_thread(import_module, _PREDICTIONS)
    await _predictions(clients).warm_up(clients.ml)


@skill("ml.predict", organ="ml", timeout_s=30, warm_up=get_ready)
async def ml_predict(params: PredictRequest, context: SkillContext) -> PredictResponse:
    """Predict one row with a trained model, in this process; calls of the same moment share a batch."""
    clients = context.clients
    if clients is None:
        raise UnavailableError("This process gives skills no service clients; ml.predict needs them.")
    try:
        return await _predictions(clients).predict(params, context.task_id, context.tenant, clients.ml)
    except SkillError:
        raise
    except SeedCoreError as error:
        retryable = not isinstance(error, _NOT_RETRYABLE)
        raise SkillError(error.detail, errors=error.errors, retryable=retryable, cause=error.code) from error


@skill("ml.train", organ="ml", timeout_s=6 * 3600, slow=True, process=True, platform=True)
def ml_train(params: TrainRequest, context: SkillContext) -> TrainResponse:
    """Train a model and store it as the next version of its name; a later attempt goes on where a killed one was."""
    from seedcore.ml.training.train_job import run_train_job, train_response
    from seedcore.settings import get_settings

    with job_errors("train"):
        manifest = run_train_job(params, get_settings(), context.task_id, context.tenant, context.report_progress)
        return train_response(manifest)


@skill("ml.learn-salience", organ="ml", timeout_s=3600, slow=True, process=True, platform=True)
def ml_learn_salience(params: LearnSalience, context: SkillContext) -> LearnedSalience:
    """Learn the salience of tasks from what became of them; the version answers only when it beats the formula."""
    from seedcore.ml.salience.salience_job import run_salience_job
    from seedcore.settings import get_settings

    with job_errors("salience"):
        return run_salience_job(params, get_settings(), context.task_id, context.report_progress)


@skill("ml.retrain", organ="ml", timeout_s=6 * 3600, slow=True, process=True, platform=True)
def ml_retrain(params: RetrainRequest, context: SkillContext) -> RetrainResult:
    """Train a candidate on the newest rows whose outcome is known, and hand it to the gate."""
    from seedcore.ml.monitoring.retrain_job import run_retrain_job
    from seedcore.settings import get_settings

    with job_errors("retrain"):
        return run_retrain_job(params, get_settings(), context.task_id, context.tenant, context.report_progress)


def _predictions(clients: SkillClients) -> "LocalPredictions":
    # Imported here: every process that knows the skills by name reads this module, and few of them predict.
    from seedcore.ml.predicting.local_predictions import LocalPredictions

    return clients.keep(LocalPredictions)


@skill("ml.tune", organ="ml", timeout_s=6 * 3600, slow=True, platform=True)
async def ml_tune(params: TuneRequest, context: SkillContext) -> TuneResult:
    """Search for a model's parameters with trials on Ray, train the best on all rows, and make it the candidate."""
    # Ray, and what a search needs, are imported where one runs.
    from seedcore.ml.tuning.tuning_attempt import run_tuning

    return await run_tuning(params, context)
