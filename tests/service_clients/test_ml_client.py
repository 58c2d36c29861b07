import asyncio
import time
from typing import Any

import pytest

from seedcore.errors import InvalidInputError, NotFoundError, UnavailableError
from seedcore.ml.service import MLService
from seedcore.service_clients.ml_client import MAX_BATCH, MLClient
from seedcore.settings import Settings
from tests.ml.support import flowers, started_service
from tests.service_clients.local_handle import LocalHandle


class Loopback(MLClient):
    """The client of a service in this process; it records what was sent."""

    def __init__(self, service: MLService) -> None:
        super().__init__(service.settings)
        self.service = service
        self.sent: list[tuple[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._handle = LocalHandle(self)

    async def invoke(self, path: str, payload: Any = None) -> Any:
        self.sent.append((path, payload))
        await self.gate.wait()
        return await self.service.invoke(path, payload)

    @property
    def batches(self) -> list[int]:
        return [len(p["rows"]) for path, p in self.sent if path == "/xgboost/batch_predict"]


@pytest.fixture
async def client(service: MLService) -> Loopback:
    made = Loopback(service)
    await made.train({"name": "m", "params": {"n_estimators": 10}} | flowers())
    return made


async def test_calls_that_come_together_go_out_together_and_each_gets_its_own_answer(client: Loopback):
    table = flowers(seed=4, n=60)
    answers = await asyncio.gather(*(client.predict("m", row[:3]) for row in table["rows"]))
    assert client.batches == [60]
    assert sum(a.prediction == row[3] for a, row in zip(answers, table["rows"], strict=True)) >= 54
    assert {a.model.version for a in answers} == {1}


async def test_a_batch_is_bounded(client: Loopback):
    await asyncio.gather(*(client.predict("m", [0, 0, 0]) for _ in range(2 * MAX_BATCH + 3)))
    assert client.batches == [MAX_BATCH, MAX_BATCH, 3]


async def test_different_models_do_not_share_a_batch(client: Loopback):
    await client.train({"name": "n", "params": {"n_estimators": 2}} | flowers(classes=(1, 2)))
    calls = [client.predict("m", [0, 0, 0]), client.predict("n", [0, 0, 0]), client.predict("m", [0, 0, 0], version=1)]
    answers = await asyncio.gather(*calls)
    assert [a.prediction for a in answers] == ["iris", 1, "iris"]
    assert client.batches == [1, 1, 1]


async def test_an_error_reaches_its_own_caller_alone(client: Loopback):
    rows = [[0, 0, 0], [0, 0], {"length": 0, "width": 0, "noise": 0}, [0, float("inf"), 0], [0, object(), 0]]
    answers = await asyncio.gather(*(client.predict("m", row) for row in rows), return_exceptions=True)
    assert [type(a).__name__ for a in answers] == [
        "PredictResponse",
        "InvalidInputError",
        "PredictResponse",
        "InvalidInputError",
        "InvalidInputError",
    ]
    assert client.batches == [3]
    assert isinstance(answers[1], InvalidInputError)
    assert answers[1].errors[0].field == "features"


async def test_nan_means_missing(client: Loopback):
    one, two = await asyncio.gather(client.predict("m", [0, 0, float("nan")]), client.predict("m", [0, 0, None]))
    assert one == two


async def test_a_failing_batch_fails_each_of_its_callers(client: Loopback):
    calls = [client.predict("absent", [0]) for _ in range(3)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(a) for a in answers] == [NotFoundError] * 3
    assert len({id(a) for a in answers}) == 3


async def test_a_cancelled_caller_does_not_harm_the_others(client: Loopback):
    client.gate.clear()
    calls = [asyncio.create_task(client.predict("m", [0, 0, 0])) for _ in range(3)]
    async with asyncio.timeout(20):
        while not client.batches:
            await asyncio.sleep(0.001)
    calls[0].cancel()
    client.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [a.prediction for a in answers[1:]] == ["iris", "iris"]


async def test_a_call_alone_waits_only_the_window(client: Loopback):
    await client.predict("m", [0, 0, 0])
    begun = time.perf_counter()
    await client.predict("m", [0, 0, 0])
    assert time.perf_counter() - begun < 1


async def test_closing_answers_those_who_wait(client: Loopback):
    call = asyncio.create_task(client.predict("m", [0, 0, 0]))
    await asyncio.sleep(0)
    await client.aclose()
    assert (await call).prediction == "iris"


async def test_an_answer_of_the_wrong_length_is_an_error_not_a_hang(client: Loopback, monkeypatch):
    async def short(*_args: Any) -> Any:
        return {"predictions": [], "model": {"name": "m", "version": 1}}

    monkeypatch.setattr(client, "invoke", short)
    with pytest.raises(UnavailableError, match="0 of 1"):
        await client.predict("m", [0, 0, 0])


async def test_the_other_methods_speak_the_services_shapes(client: Loopback):
    assert (await client.list_models()).models[0].name == "m"
    assert (await client.model_info("m", 1)).model_schema.label_column == "kind"
    assert (await client.batch_predict("m", [[0, 0, 0]])).predictions[0].prediction == "iris"


async def test_deleting_answers_what_was_deleted(pg_settings: Settings):
    async with started_service(pg_settings) as service:
        client = Loopback(service)
        await client.train({"name": "m", "params": {"n_estimators": 2}} | flowers())
        assert (await client.delete_model("m")).deleted == [1]
