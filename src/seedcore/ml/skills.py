"""`ml.predict`: one prediction of a trained model, as `/ml/xgboost/predict` gives it."""

from seedcore.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SeedCoreError,
    SkillError,
    TooLargeError,
    UnavailableError,
)
from seedcore.schemas.ml import PredictRequest, PredictResponse
from seedcore.skills.sdk import SkillClients, SkillContext, skill

# Asking again gives the same answer to these.
_FINAL = (InvalidInputError, NotFoundError, ConflictError, TooLargeError)


async def reach_ml(clients: SkillClients) -> None:
    """Find the ML service before the first prediction needs it."""
    await clients.ml.reach()


@skill("ml.predict", organ="ml", timeout_s=30, warm_up=reach_ml)
async def ml_predict(params: PredictRequest, context: SkillContext) -> PredictResponse:
    """Predict one row with a trained model; calls that come together share one request."""
    if context.clients is None:
        raise UnavailableError("This process gives skills no clients; ml.predict needs the ML client.")
    try:
        answer = await context.clients.ml.predict(params.name, params.features, params.version, params.alias)
    except SkillError:
        raise
    except SeedCoreError as error:
        retryable = not isinstance(error, _FINAL)
        raise SkillError(error.detail, errors=error.errors, retryable=retryable, cause=error.code) from error
    return PredictResponse.model_validate(answer, from_attributes=True)
