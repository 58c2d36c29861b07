import asyncio
import random

import httpx
import pytest

from seedcore.errors import InvalidInputError, NotFoundError
from seedcore.ml.operations import training_operations
from seedcore.ml.predicting.model_cache import LEAST_BYTES
from seedcore.ml.service import MLService
from tests.ml.support import flowers, know_aliases


async def trained(http: httpx.AsyncClient, name: str = "flowers", **kwargs) -> dict:
    answer = await http.post("/xgboost/train", json={"name": name, "params": {"n_estimators": 20}} | flowers(**kwargs))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_training_answers_with_version_metrics_time_and_schema(http: httpx.AsyncClient):
    first = await trained(http)
    assert first["version"] == 1
    assert first["metrics"]["accuracy"] > 0.9
    assert (first["metrics"]["n_train"], first["metrics"]["n_valid"]) == (72, 18)
    assert first["training_time_s"] > 0
    assert [c["name"] for c in first["schema"]["features"]] == ["length", "width", "noise"]
    assert first["schema"]["labels"] == ["iris", "rose", "tulip"]
    assert first["schema"]["task"] == "multiclass"
    assert (await trained(http))["version"] == 2


@pytest.mark.parametrize("classes", [("iris", "rose"), (0, 1), (10, 20, 30), (False, True)])
async def test_the_prediction_is_the_label_with_its_type(http: httpx.AsyncClient, classes):
    made = await trained(http, classes=classes)
    table = flowers(seed=2, n=30, classes=classes)
    right = 0
    for row in table["rows"]:
        features = dict(zip(table["columns"][:3], row[:3], strict=True))
        answer = await http.post("/xgboost/predict", json={"name": "flowers", "features": features})
        body = answer.json()
        assert body["model"] == {"name": "flowers", "version": made["version"]}
        assert type(body["prediction"]) is type(row[3])
        assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        best = max(body["probabilities"], key=body["probabilities"].get)
        assert best == (str(body["prediction"]).lower() if isinstance(row[3], bool) else str(body["prediction"]))
        right += body["prediction"] == row[3]
    assert right >= 27


async def test_float_labels_are_regression(http: httpx.AsyncClient):
    rng = random.Random(0)
    data = [{"a": (a := rng.random()), "b": (b := rng.random()), "y": 3.0 * a - b} for _ in range(300)]
    answer = await http.post("/xgboost/train", json={"name": "line", "dataset": data, "label_column": "y"})
    body = answer.json()
    assert body["schema"]["task"] == "regression"
    assert body["schema"]["labels"] is None
    assert body["metrics"]["r2"] > 0.95
    answer = await http.post("/xgboost/predict", json={"name": "line", "features": {"a": 0.5, "b": 0.5}})
    assert answer.json()["prediction"] == pytest.approx(1.0, abs=0.2)
    assert answer.json()["probabilities"] is None


async def test_rows_objects_lists_and_batches_predict_the_same(http: httpx.AsyncClient):
    await trained(http)
    table = flowers(seed=3, n=20)
    lists = [row[:3] for row in table["rows"]]
    objects = [dict(zip(table["columns"], row, strict=False)) for row in lists]
    batch = (await http.post("/xgboost/batch_predict", json={"name": "flowers", "rows": [*lists, *objects]})).json()
    assert batch["predictions"][:20] == batch["predictions"][20:]
    for row, from_batch in zip(lists, batch["predictions"], strict=False):
        one = (await http.post("/xgboost/predict", json={"name": "flowers", "features": row})).json()
        assert one["prediction"] == from_batch["prediction"]
        assert one["probabilities"] == from_batch["probabilities"]


async def test_a_bad_row_spoils_no_other(http: httpx.AsyncClient):
    await trained(http)
    rows = [[1, 2, 3], [1, 2], {"length": 1, "width": "x", "noise": None}, {"length": 1}, [None, None, None]]
    answer = await http.post("/xgboost/batch_predict", json={"name": "flowers", "rows": rows})
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    assert [p["error"] is None for p in found] == [True, False, False, False, True]
    assert [e["field"] for e in found[2]["error"]["errors"]] == ["features.width"]
    assert [e["field"] for e in found[3]["error"]["errors"]] == ["features.width", "features.noise"]


async def test_a_version_can_be_chosen_and_latest_is_the_newest(http: httpx.AsyncClient):
    await trained(http)
    await trained(http, classes=("a", "b", "c"))
    ask = {"name": "flowers", "features": [0, 0, 0]}
    old = (await http.post("/xgboost/predict", json=ask | {"version": 1})).json()
    new = (await http.post("/xgboost/predict", json=ask | {"alias": "latest"})).json()
    assert (old["prediction"], old["model"]["version"]) == ("iris", 1)
    assert (new["prediction"], new["model"]["version"]) == ("a", 2)


async def test_a_version_that_another_replica_trained_or_deleted_counts_at_once(service: MLService, settings):
    other = MLService({}, settings, background=False)
    know_aliases(other.parts.aliases)
    train = {"name": "m", "params": {"n_estimators": 5}} | flowers()
    ask = {"name": "m", "features": [0, 0, 0]}
    await service.invoke("/xgboost/train", train)
    assert (await other.invoke("/xgboost/predict", ask))["model"]["version"] == 1
    await service.invoke("/xgboost/train", train)
    assert (await other.invoke("/xgboost/predict", ask))["model"]["version"] == 2
    service.parts.store.delete("m", 2)
    assert (await other.invoke("/xgboost/predict", ask))["model"]["version"] == 1
    service.parts.store.delete("m")
    with pytest.raises(NotFoundError):
        await other.invoke("/xgboost/predict", ask | {"version": 1})


async def test_the_cache_of_models_is_bounded(service: MLService):
    service.parts.predictor.models.max_bytes = 2 * LEAST_BYTES
    for name in ("a", "b", "c"):
        await service.invoke("/xgboost/train", {"name": name, "params": {"n_estimators": 2}} | flowers())
        await service.invoke("/xgboost/predict", {"name": name, "features": [0, 0, 0]})
    assert service.parts.predictor.loaded == 2
    assert (await service.invoke("/xgboost/predict", {"name": "a", "features": [0, 0, 0]}))["prediction"] == "iris"


async def test_models_are_listed_and_described(http: httpx.AsyncClient):
    await trained(http)
    await trained(http)
    listed = (await http.get("/xgboost/list_models")).json()
    assert listed["total_count"] == 1
    assert (listed["models"][0]["latest"], listed["models"][0]["versions"]) == (2, [1, 2])
    info = (await http.get("/xgboost/model_info", params={"name": "flowers", "version": 1})).json()
    assert (info["version"], info["versions"], info["n_rows"]) == (1, [1, 2], 90)
    assert info["params"]["num_boost_round"] == 20
    assert len(info["sha256"]) == 64
    assert info["schema"]["label_column"] == "kind"
    assert info["aliases"] == listed["models"][0]["aliases"] == {}


async def test_a_handle_gets_the_same_json_as_http(service: MLService, http: httpx.AsyncClient):
    await trained(http)
    query = {"name": "flowers"}
    assert (
        await service.invoke("/xgboost/model_info", query)
        == (await http.get("/xgboost/model_info", params=query)).json()
    )
    assert await service.invoke("/xgboost/list_models") == (await http.get("/xgboost/list_models")).json()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "../etc"}, "name"),
        ({"label_column": "colour"}, "label_column"),
        ({"columns": None}, "(body)"),
        ({"dataset": [{"x": 1}]}, "(body)"),
        ({"params": {"max_depth": 99}}, "params.max_depth"),
        ({"params": {"callbacks": []}}, "params.callbacks"),
        ({"rows": [[1, 2, 3, "a"]] * 5}, "rows"),
        ({"lable_column": "kind"}, "lable_column"),
    ],
)
async def test_bad_training_input_is_a_problem_that_names_the_field(http: httpx.AsyncClient, change, field):
    answer = await http.post("/xgboost/train", json={"name": "m"} | flowers() | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_input"
    assert field in [e["field"] for e in answer.json()["errors"]]
    assert (await http.get("/xgboost/list_models")).json()["total_count"] == 0


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        ({"name": "none", "features": [0, 0, 0]}, 404),
        ({"name": "flowers", "version": 9, "features": [0, 0, 0]}, 404),
        ({"name": "flowers", "alias": "champion", "features": [0, 0, 0]}, 404),
        ({"name": "flowers", "alias": "best", "features": [0, 0, 0]}, 422),
        ({"name": "flowers", "version": 1, "alias": "latest", "features": [0, 0, 0]}, 422),
        ({"name": "flowers", "features": [0, 0]}, 422),
        ({"name": "flowers", "features": {"length": 1, "width": 2, "noise": 3, "kind": "iris"}}, 422),
        ({"name": "flowers", "features": "abc"}, 422),
    ],
)
async def test_bad_prediction_input_is_a_problem(http: httpx.AsyncClient, ask, status):
    await trained(http)
    answer = await http.post("/xgboost/predict", json=ask)
    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_too_many_trainings_at_once_are_refused_with_a_retry_time(http: httpx.AsyncClient, monkeypatch):
    monkeypatch.setattr(training_operations, "MAX_TRAININGS", 1)
    slow = {"name": "slow", "params": {"n_estimators": 300}} | flowers(n=600)
    answers = await asyncio.gather(*(http.post("/xgboost/train", json=slow) for _ in range(3)))
    assert sorted(a.status_code for a in answers) == [200, 429, 429]
    refused = next(a for a in answers if a.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert (await http.post("/xgboost/train", json=slow)).status_code == 200


async def test_a_training_whose_client_went_away_stops_and_keeps_nothing(service: MLService):
    slow = {"name": "slow", "params": {"n_estimators": 5000, "max_depth": 12}} | flowers(n=3000)
    call = asyncio.create_task(service.invoke("/xgboost/train", slow))
    await asyncio.sleep(0.3)
    training = service.training
    assert training.running == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(10):
        while training.running:
            await asyncio.sleep(0.02)
    assert (await service.invoke("/xgboost/list_models"))["total_count"] == 0


async def warm(http: httpx.AsyncClient) -> None:
    """Wait until health is good."""
    async with asyncio.timeout(60):
        while (await http.get("/health")).status_code != 200:
            await asyncio.sleep(0.02)


async def test_it_is_ready_once_a_model_was_trained_and_asked_and_none_of_it_is_kept(
    service: MLService, http: httpx.AsyncClient
):
    await warm(http)
    assert (await http.get("/health")).json()["models"] == 0
    assert list(service.parts.store.names()) == []


async def test_a_warm_up_that_fails_is_in_health_with_its_reason(settings, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise OSError("libxgboost.so cannot be read")

    monkeypatch.setattr("seedcore.ml.service.train_request", broken)
    made = MLService({"version": "test"}, settings, background=False)
    await made.start()
    try:
        async with asyncio.timeout(60):
            while "OSError: libxgboost.so cannot be read" not in (status := await made.health())["cold"]["xgboost"]:
                await asyncio.sleep(0.02)
        assert status["ready"] is False
    finally:
        await made.stop()


async def test_health_tells_whether_the_folder_can_be_used(service: MLService, http: httpx.AsyncClient):
    await trained(http)
    await warm(http)
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["models"] == 1
    service.parts.store.root.rename(service.parts.store.root.with_name("moved"))
    answer = await http.get("/health")
    assert answer.status_code == 503
    assert answer.json()["storage"]["usable"] is False


async def test_a_data_source_is_read_from_the_datasets_folder_alone(service: MLService, settings):
    folder = settings.data_dir / "datasets"
    folder.mkdir(parents=True)
    (folder / "t.csv").write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    made = await service.invoke("/xgboost/train", {"name": "t", "data_source": "t.csv", "label_column": "y"})
    assert made["schema"]["label_type"] == "integer"
    with pytest.raises(InvalidInputError, match="inside"):
        await service.invoke("/xgboost/train", {"name": "t", "data_source": "../x.csv", "label_column": "y"})


@pytest.mark.parametrize("points", [8, 23, 24])
async def test_a_short_series_is_judged(http: httpx.AsyncClient, points: int):
    data = [0.1 * (n % 3) for n in range(points - 1)] + [50.0]
    answer = await http.post("/detect/anomaly", json={"data": data})
    assert answer.status_code == 200, answer.text
    assert [found["index"] for found in answer.json()["anomalies"]] == [points - 1]


async def test_a_series_of_seven_points_is_refused(http: httpx.AsyncClient):
    answer = await http.post("/detect/anomaly", json={"data": [1.0] * 7})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "data")


async def test_a_long_name_of_a_file_is_invalid_input(http: httpx.AsyncClient, service: MLService):
    (service.settings.data_dir / "datasets").mkdir(parents=True, exist_ok=True)
    body = {"name": "m", "data_source": "a" * 256 + ".csv", "label_column": "y"}
    answer = await http.post("/xgboost/train", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "data_source")


async def test_columns_are_judged_together(http: httpx.AsyncClient):
    noise = random.Random(1)
    columns = {name: [noise.gauss(0, 1) for _ in range(40)] for name in ("load", "heat")}
    columns["load"][20] = 90.0
    answer = await http.post("/detect/anomaly", json={"columns": columns})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [found["index"] for found in body["anomalies"]] == [20]
    shares = body["anomalies"][0]["columns"]
    assert shares["load"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    alone = (await http.post("/detect/anomaly", json={"columns": {"load": columns["load"]}})).json()
    assert {"index", "value", "score"} <= alone["anomalies"][0].keys()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "data"),
        ({"data": [1.0] * 8, "columns": {"a": [1.0] * 8}}, "columns"),
        ({"columns": {}}, "columns"),
        ({"columns": {"a": [1.0] * 20, "b": [1.0] * 21}}, "columns.b"),
        ({"columns": {"a": [1.0] * 20, "b": ["x"] * 20}}, "columns.b.0"),
        ({"columns": {"a": [1.0] * 3}}, "columns.a"),
        ({"columns": {"a": "x"}}, "columns.a"),
        ({"columns": {f"c{k}": [1.0] * 8000 for k in range(26)}}, "columns"),
    ],
)
async def test_wrong_columns_are_named(http: httpx.AsyncClient, body: dict[str, object], field: str):
    answer = await http.post("/detect/anomaly", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
