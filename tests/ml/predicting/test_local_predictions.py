"""Predictions in the worker's process: batches, errors by row, shadows, and swaps under load."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest

from seedcore.errors import InvalidInputError, NotFoundError, SeedCoreError
from seedcore.ml.predicting import local_predictions
from seedcore.ml.predicting.local_predictions import LocalPredictions
from seedcore.ml.registry import aliases
from seedcore.ml.registry.aliases import ModelAliases, set_alias
from seedcore.ml.registry.model_uses import delete_versions
from seedcore.ml.service import MLService
from seedcore.schemas.ml.models import PredictRequest, PredictResponse
from seedcore.settings import Settings
from tests.ml.support import flowers, know_aliases, started_service

FAR: Any = Mock()


async def train(service: MLService, n: int = 1, seed: int = 1) -> None:
    for i in range(n):
        await service.invoke("/xgboost/train", {"name": "m", "params": {"n_estimators": 5}} | flowers(seed=seed + i))


@pytest.fixture
async def local(service: MLService) -> AsyncIterator[LocalPredictions]:
    await train(service)
    local = LocalPredictions(service.settings)
    know_aliases(local._aliases)
    yield local
    await local.aclose()


def ask(local: LocalPredictions, features: Any, **more: Any) -> "asyncio.Future[PredictResponse]":
    request = PredictRequest(name="m", features=features, **more)
    return asyncio.ensure_future(local.predict(request, str(uuid4()), "default", FAR))


def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes, real = list[int](), local_predictions.answer_batch

    def answer_batch(model: Any, rows: Any) -> Any:
        sizes.append(len(rows))
        return real(model, rows)

    monkeypatch.setattr(local_predictions, "answer_batch", answer_batch)
    return sizes


async def test_calls_of_one_moment_share_a_batch_and_each_gets_its_own_answer(
    local: LocalPredictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(local, [0, 0, 0])
    sizes = batches(monkeypatch)
    rows = flowers(seed=4, n=60)["rows"]
    answers = await asyncio.gather(*(ask(local, row[:3]) for row in rows))
    assert sizes == [60]
    assert sum(a.prediction == row[3] for a, row in zip(answers, rows, strict=True)) >= 54


async def test_calls_that_begin_a_few_a_turn_share_a_batch_too(
    local: LocalPredictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(local, [0, 0, 0])
    sizes = batches(monkeypatch)
    monkeypatch.setattr(local_predictions, "WINDOW_S", 5.0)
    asked = []
    for count in (1, 2, 6, 18):
        asked += [ask(local, [0, 0, 0]) for _ in range(count)]
        await asyncio.sleep(0)
    await asyncio.gather(*asked)
    assert sizes == [27]


async def test_a_row_that_does_not_fit_fails_alone_and_names_its_column(local: LocalPredictions) -> None:
    good, short, text = {"length": 0, "width": 0, "noise": 0}, {"length": 0, "width": 0}, ["a", 0, 0]
    answers = await asyncio.gather(*(ask(local, f) for f in (good, short, text)), return_exceptions=True)
    assert isinstance(answers[0], PredictResponse)
    for answer, column in zip(answers[1:], ("noise", "length"), strict=True):
        assert isinstance(answer, InvalidInputError)
        assert [error.field for error in answer.errors] == [f"features.{column}"]


async def test_contributions_come_to_those_who_ask_and_sum_to_the_margin(
    local: LocalPredictions, service: MLService
) -> None:
    with_them, without = await asyncio.gather(ask(local, [3, -2, 0.5], contributions=True), ask(local, [3, -2, 0.5]))
    assert without.contributions is None
    assert "contributions" not in without.model_dump()
    parts = with_them.contributions
    assert parts is not None
    assert set(parts) == {"length", "width", "noise", "bias"}
    model = service.parts.predictor.models.get("m", 1)
    margins = model.margins(model.encode([[3, -2, 0.5]]).matrix)[0]
    assert sum(parts.values()) == pytest.approx(float(margins.max()), abs=1e-4)
    same = await service.invoke("/xgboost/predict", {"name": "m", "features": [3, -2, 0.5], "contributions": True})
    assert same["contributions"] == pytest.approx(parts)


async def test_an_unknown_model_fails_every_call_with_an_error_of_its_own(local: LocalPredictions) -> None:
    request = PredictRequest(name="other", features=[0])
    answers = await asyncio.gather(
        *(local.predict(request, "t", "default", FAR) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [NotFoundError] * 3
    assert len(set(map(id, answers))) == 3


async def test_a_caller_that_leaves_takes_no_answer_from_the_others(local: LocalPredictions) -> None:
    first, second = ask(local, [0, 0, 0]), ask(local, [0, 0, 0])
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).prediction == "iris"
    assert first.cancelled()


async def test_closing_answers_what_waits(local: LocalPredictions) -> None:
    asked = ask(local, [0, 0, 0])
    await asyncio.sleep(0)
    await local.aclose()
    assert (await asked).prediction == "iris"


@pytest.fixture
async def stored(pg_settings: Settings) -> AsyncIterator[tuple[MLService, LocalPredictions]]:
    async with started_service(pg_settings) as service:
        await train(service, 2)
        local = LocalPredictions(pg_settings)
        yield service, local
        await local.aclose()


async def alias(service: MLService, name: Any, version: int) -> None:
    async with service.parts.database.transaction() as connection:
        await set_alias(connection, "m", name, version)


async def test_the_candidate_answers_in_the_shadow_and_both_are_recorded(
    stored: tuple[MLService, LocalPredictions],
) -> None:
    service, local = stored
    await alias(service, "champion", 1)
    async with service.parts.database.connection() as connection:
        promotion = await connection.fetchval(
            "insert into seedcore.promotions (name, champion, candidate, status) values ('m', 1, 2, 'shadowing')"
            " returning id"
        )
    await alias(service, "candidate", 2)
    shadowed, named, bad = await asyncio.gather(
        ask(local, [0, 0, None]), ask(local, [3, -3, 0], version=2), ask(local, []), return_exceptions=True
    )
    assert isinstance(shadowed, PredictResponse)
    assert isinstance(named, PredictResponse)
    assert isinstance(bad, InvalidInputError)
    assert (shadowed.model.version, named.model.version) == (1, 2)
    await local.aclose()
    async with service.parts.database.connection() as connection:
        rows = await connection.fetch("select * from seedcore.predictions order by version")
    first, second = rows
    assert (first["version"], first["promotion"], first["candidate"]) == (1, promotion, 2)
    assert json.loads(first["answer"])["prediction"] == "iris"
    assert json.loads(first["candidate_answer"])["prediction"] in ("iris", "rose", "tulip")
    assert first["features"] == [0, 0, None]
    assert 0 < first["seconds"] < 5
    assert (second["version"], second["promotion"], second["candidate_answer"]) == (2, None, None)


async def test_a_candidate_that_cannot_be_loaded_is_shown_and_the_champion_answers(
    stored: tuple[MLService, LocalPredictions],
) -> None:
    service, local = stored
    await alias(service, "champion", 1)
    async with service.parts.database.connection() as connection:
        await connection.execute(
            "insert into seedcore.promotions (name, champion, candidate, status) values ('m', 1, 2, 'shadowing')"
        )
    await alias(service, "candidate", 2)
    (service.parts.store.root / "m" / "2" / "model.ubj").write_bytes(b"damaged")
    for _ in range(2):
        assert (await ask(local, [0, 0, 0])).model.version == 1
    await local.aclose()
    assert local.status()["candidates_failing"] == ["m"]
    async with service.parts.database.connection() as connection:
        rows = await connection.fetch("select candidate, candidate_answer from seedcore.predictions")
    assert [(row["candidate"], row["candidate_answer"]) for row in rows] == [(2, None)] * 2


async def test_predictions_of_a_name_without_a_champion_are_not_recorded(
    stored: tuple[MLService, LocalPredictions],
) -> None:
    service, local = stored
    assert (await ask(local, [0, 0, 0])).model.version == 2
    await local.aclose()
    async with service.parts.database.connection() as connection:
        assert await connection.fetchval("select count(*) from seedcore.predictions") == 0


async def test_no_request_fails_or_is_mixed_while_aliases_switch_and_versions_go(
    stored: tuple[MLService, LocalPredictions], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, local = stored
    monkeypatch.setattr(aliases, "REFRESH_S", 0.005)
    await alias(service, "champion", 2)
    over, seen, rng = asyncio.Event(), Counter[int](), random.Random(1)
    expected: dict[int, Any] = {}
    row = [1.4, -0.9, 0.2]

    async def load(local_one: bool) -> None:
        while not over.is_set():
            if local_one:
                answer = (await ask(local, row)).model_dump()
            else:
                answer = await service.invoke("/xgboost/predict", {"name": "m", "features": row})
            version = answer["model"]["version"]
            seen[version] += 1
            # One version is one model: whatever answers as version 3 says what version 3 says.
            assert expected.setdefault(version, answer["probabilities"]) == answer["probabilities"]
            await asyncio.sleep(rng.random() * 0.002)

    async def swap() -> None:
        for version in range(3, 9):
            await train(service, seed=10 + version)
            await alias(service, "champion", version)
            await delete_versions(service.parts.database, service.parts.store, "m", version - 1)
        await asyncio.sleep(0.05)
        over.set()

    loads = [asyncio.create_task(load(i % 2 == 0)) for i in range(8)]
    await asyncio.gather(swap(), *loads)
    assert {8, 2} <= set(seen)
    assert sum(seen.values()) > 100
    assert service.parts.store.versions("m") == [1, 8]


async def test_aliases_that_fail_do_not_stop_what_names_its_version(
    local: LocalPredictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = local._aliases

    async def fail() -> None:
        cache._failed_at, cache._reading = float("inf"), None
        cache._error = None

    cache._read = fail  # type: ignore[method-assign]
    assert (await ask(local, [0, 0, 0], version=1)).model.version == 1
    assert (await ask(local, [0, 0, 0], alias="latest")).model.version == 1
    with pytest.raises(SeedCoreError, match="aliases"):
        await ask(local, [0, 0, 0])


async def test_an_alias_answers_by_its_own_version(service: MLService) -> None:
    await train(service, 3)
    local = LocalPredictions(service.settings)
    know_aliases(local._aliases, ModelAliases(1, {"m": {"champion": 1, "candidate": 2}}, {}))
    asked = [ask(local, [0, 0, 0], **more) for more in ({}, {"alias": "candidate"}, {"alias": "latest"})]
    assert [answer.model.version for answer in await asyncio.gather(*asked)] == [1, 2, 3]
    local._database = Mock()
    await local._aliases.aclose()
