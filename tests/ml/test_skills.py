import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from seedcore.errors import NotFoundError, SkillError, UnavailableError
from seedcore.ml.service import MLService
from seedcore.ml.skills import get_ready, ml_predict
from seedcore.schemas.ml.models import ModelRef, PredictRequest, PredictResponse
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import Settings, load_settings
from seedcore.skills.skill_decorator import SkillContext
from tests.ml.support import flowers, know_aliases


class FarService:
    """The ML service, for a node without a model folder."""

    def __init__(self, answer: PredictResponse | Exception) -> None:
        self.answer, self.asked, self.reached = answer, list[Any](), 0

    async def reach(self) -> None:
        self.reached += 1

    async def predict(self, *given: Any, **more: Any) -> PredictResponse:
        self.asked.append((given, more))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self) -> None:
        pass


MakeContext = Callable[[Settings, FarService], SkillContext]


@pytest.fixture
async def make_context() -> AsyncIterator[MakeContext]:
    made = list[SkillServiceClients]()

    def make(settings: Settings, far: FarService) -> SkillContext:
        clients = SkillServiceClients(settings)
        clients.__dict__["ml"] = far
        made.append(clients)
        return SkillContext("id", 1, 1, "key", None, clients)

    yield make
    for clients in made:
        await clients.aclose()


ANSWER = PredictResponse(prediction=1, model=ModelRef(name="m", version=2))


async def test_without_a_model_folder_the_ml_service_is_asked_and_the_status_says_so(
    make_context: MakeContext, tmp_path: Path
) -> None:
    far = FarService(ANSWER)
    context = make_context(load_settings(data_dir=tmp_path / "empty"), far)
    assert context.clients is not None
    await get_ready(context.clients)
    answer = await ml_predict(PredictRequest(name="m", version=2, features={"x": 1.5}), context)
    assert far.reached == 1
    assert far.asked == [(("m", {"x": 1.5}, 2, None), {"contributions": False})]
    assert answer.model_dump() == {"prediction": 1, "probabilities": None, "model": {"name": "m", "version": 2}}
    assert context.clients.status()["ml_predict"]["remote"] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("error", "retryable"), [(NotFoundError("no model"), False), (UnavailableError("down"), True)])
async def test_only_what_may_pass_is_worth_another_attempt(
    error: Exception, retryable: bool, make_context: MakeContext, settings: Settings
) -> None:
    with pytest.raises(SkillError) as caught:
        await ml_predict(PredictRequest(name="m", features=[1]), make_context(settings, FarService(error)))
    assert caught.value.transient is retryable
    assert caught.value.extra["cause"] == getattr(error, "code")  # noqa: B009 - errors of ours have it


async def test_with_a_model_folder_the_process_itself_answers(service: MLService, make_context: MakeContext) -> None:
    await service.invoke("/xgboost/train", {"name": "m", "params": {"n_estimators": 5}} | flowers())
    far = FarService(ANSWER)
    context = make_context(service.settings, far)
    assert context.clients is not None
    from seedcore.ml.predicting.local_predictions import LocalPredictions

    know_aliases(context.clients.keep(LocalPredictions)._aliases)
    await get_ready(context.clients)
    assert "xgboost" in sys.modules
    answer = await ml_predict(PredictRequest(name="m", features=[0, 0, 0]), context)
    assert (answer.prediction, answer.model.version, far.asked) == ("iris", 1, [])


async def test_without_clients_it_says_so() -> None:
    with pytest.raises(UnavailableError):
        await ml_predict(PredictRequest(name="m", features=[1]), SkillContext("id", 1, 1, "key", None))
