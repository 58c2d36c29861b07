from types import SimpleNamespace
from typing import Any

import pytest

from seedcore.errors import NotFoundError, SkillError, UnavailableError
from seedcore.ml.skills import ml_predict
from seedcore.schemas.ml import ModelRef, PredictRequest, PredictResponse
from seedcore.skills.skill_decorator import SkillContext


def context(predict: Any) -> SkillContext:
    clients = SimpleNamespace(ml=SimpleNamespace(predict=predict))
    return SkillContext("id", 1, 1, "key", None, clients)


async def test_it_asks_the_ml_client_and_returns_what_that_answers():
    asked = []

    async def predict(*given: Any) -> PredictResponse:
        asked.append(given)
        return PredictResponse(prediction=1, model=ModelRef(name="m", version=2))

    answer = await ml_predict(PredictRequest(name="m", version=2, features={"x": 1.5}), context(predict))
    assert asked == [("m", {"x": 1.5}, 2, None)]
    assert answer.model_dump() == {"prediction": 1, "probabilities": None, "model": {"name": "m", "version": 2}}


@pytest.mark.parametrize(("error", "retryable"), [(NotFoundError("no model"), False), (UnavailableError("down"), True)])
async def test_only_what_may_pass_is_worth_another_attempt(error: Exception, retryable: bool):
    async def predict(*_given: Any) -> PredictResponse:
        raise error

    with pytest.raises(SkillError) as caught:
        await ml_predict(PredictRequest(name="m", features=[1]), context(predict))
    assert caught.value.transient is retryable
    assert caught.value.extra["cause"] == error.code


async def test_without_clients_it_says_so():
    with pytest.raises(UnavailableError):
        await ml_predict(PredictRequest(name="m", features=[1]), context(None).__class__("id", 1, 1, "key", None))
