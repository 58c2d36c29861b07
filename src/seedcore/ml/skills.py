"""The skill `ml.predict`: one prediction of a trained model, as `/ml/xgboost/predict` answers it."""

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
