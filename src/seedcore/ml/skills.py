"""The skills of the room: `ml.predict` answers as `/ml/xgboost/predict`, `ml.train` is what `train/submit` submits."""

from seedcore.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SeedCoreError,
    SkillError,
    TooLargeError,
    UnavailableError,
)
from seedcore.ml.job_outcomes import ThrottledReport, job_errors
from seedcore.schemas.ml import PredictRequest, PredictResponse, TrainRequest, TrainResponse
from seedcore.skills.skill_decorator import SkillClients, SkillContext, skill

# A retry would raise these again.
_NOT_RETRYABLE = (InvalidInputError, NotFoundError, ConflictError, TooLargeError)


async def reach_ml(clients: SkillClients) -> None:
    """Find the ML service before the first prediction needs it."""
    await clients.ml.reach()


@skill("ml.predict", organ="ml", timeout_s=30, warm_up=reach_ml)
async def ml_predict(params: PredictRequest, context: SkillContext) -> PredictResponse:
    """Predict one row with a trained model; concurrent calls share one request."""
    if context.clients is None:
        raise UnavailableError("This process gives skills no service clients; ml.predict needs the ML client.")
    try:
        answer = await context.clients.ml.predict(params.name, params.features, params.version, params.alias)
    except SkillError:
        raise
    except SeedCoreError as error:
        retryable = not isinstance(error, _NOT_RETRYABLE)
        raise SkillError(error.detail, errors=error.errors, retryable=retryable, cause=error.code) from error
    return PredictResponse.model_validate(answer, from_attributes=True)


@skill("ml.train", organ="ml", timeout_s=6 * 3600, slow=True, process=True)
def ml_train(params: TrainRequest, context: SkillContext) -> TrainResponse:
    """Train a model and store it as the next version of its name; a later attempt goes on where a killed one was."""
    from seedcore.ml.training.train_job import run_train_job, train_response
    from seedcore.settings import get_settings

    with job_errors("train"):
        report = ThrottledReport(context)
        manifest = run_train_job(params, get_settings(), context.task_id, context.tenant, report)
        return train_response(manifest)
