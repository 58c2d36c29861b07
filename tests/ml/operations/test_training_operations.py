"""Training over HTTP: its data sources, its tasks, and files of training sets."""

import json
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from seedcore.settings import Settings, load_settings
from tests.ml.support import flowers, started_service

BUNDLED = {"name": "m", "data_source": "bundled:iris", "label_column": "target", "params": {"n_estimators": 5}}


async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with started_service(settings) as service:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield http


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async for made in client(settings):
        yield made


@pytest.fixture
async def whole(pg_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """With a database."""
    async for made in client(pg_settings):
        yield made


async def test_a_bundled_set_is_trained_on(http: httpx.AsyncClient):
    answer = await http.post("/xgboost/train", json=BUNDLED)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["metrics"]["accuracy"] > 0.8
    low, high = made["intervals"]["accuracy"]
    assert low <= made["metrics"]["accuracy"] <= high
    assert sum(made["importance"].values()) == pytest.approx(1)
    feature = made["schema"]["features"][0]
    assert (feature["name"], feature["type"], feature["low"]) == ("sepal length (cm)", "number", pytest.approx(4.3))


async def test_all_about_a_training_is_in_the_manifest(http: httpx.AsyncClient, settings: Settings):
    table = flowers()
    rows = [[*row, "small" if row[0] < 3 else "large", i] for i, row in enumerate(table["rows"])]
    body = {
        "name": "m",
        "rows": rows,
        "columns": [*table["columns"], "shape", "at"],
        "label_column": "kind",
        "time_column": "at",
        "slices": {"shape": 0.05},
        "early_stopping_rounds": 5,
        "parent": 3,
    }
    answer = await http.post("/xgboost/train", json=body)
    assert answer.status_code == 200, answer.text
    stored = json.loads((settings.models_dir / "m" / "1" / "manifest.json").read_text())
    assert stored["slices"] == {"shape": 0.05}
    assert stored["reference"] == 90
    assert [column["type"] for column in stored["columns"]] == ["number", "number", "number", "category"]
    lineage = stored["lineage"]
    assert (lineage["source"], lineage["parent"], lineage["job_id"]) == ("rows", 3, None)
    assert len(lineage["data_sha256"]) == 64
    assert lineage["code_version"]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"data_source": "bundled:none"}, 422, "data_source"),
        ({"data_source": "../x.csv"}, 422, "data_source"),
        ({"data_source": "x.exe"}, 422, "data_source"),
        ({"data_source": "none.csv"}, 404, None),
        ({"data_source": {"sql": "select * from seedcore.tasks"}}, 422, "data_source.sql"),
        ({"data_source": {"sql": "select 1; select 2"}}, 422, "data_source.sql"),
        ({"data_source": {"recorded": "../m"}}, 422, None),
        ({"data_source": {}}, 422, None),
        ({"data_source": 7}, 422, None),
        ({"params": {"max_depth": "deep"}}, 422, "params.max_depth"),
        ({"weight_column": "none"}, 422, "weight_column"),
        ({"time_column": "none"}, 422, "time_column"),
        ({"category_columns": ["none"]}, 422, "category_columns"),
        ({"slices": {"none": 0.1}}, 422, "slices.none"),
        ({"slices": {"petal width (cm)": 0.1}}, 422, "slices.petal width (cm)"),
        ({"slices": {"petal width (cm)": 2}}, 422, "slices.petal width (cm)"),
        ({"outcome": "success"}, 422, "outcome"),
        ({"outcome": "good"}, 422, "outcome"),
        ({"device": "tpu"}, 422, "device"),
        ({"device": "cuda"}, 503, None),
        ({"early_stopping_rounds": 0}, 422, "early_stopping_rounds"),
        ({"parent": 0}, 422, "parent"),
    ],
)
async def test_a_wrong_training_is_a_problem_that_names_its_field(http: httpx.AsyncClient, change, status, field):
    answer = await http.post("/xgboost/train", json=BUNDLED | change)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    fields = [error["field"] for error in answer.json().get("errors", [])]
    if field is not None:
        assert fields == [field]
    elif status == 422:
        assert fields
        assert all(name.startswith("data_source") for name in fields)


async def test_a_file_is_uploaded_trained_on_and_deleted(http: httpx.AsyncClient):
    content = "x,colour,y\n" + "".join(f"{i},{'red' if i % 2 else 'blue'},{i % 2}\n" for i in range(50))
    first = await http.put("/datasets/t.csv", content=content)
    assert (first.status_code, first.json()["bytes"]) == (201, len(content))
    assert (await http.put("/datasets/t.csv", content=content)).status_code == 200
    assert [file["file"] for file in (await http.get("/datasets")).json()["files"]] == ["t.csv"]
    body = {"name": "m", "data_source": "t.csv", "label_column": "y", "params": {"n_estimators": 3}}
    trained = await http.post("/xgboost/train", json=body)
    assert trained.status_code == 200, trained.text
    assert trained.json()["schema"]["features"][1]["categories"] == ["blue", "red"]
    assert (await http.delete("/datasets/t.csv")).status_code == 204
    assert (await http.delete("/datasets/t.csv")).status_code == 404
    assert (await http.put("/datasets/t.exe", content=b"")).status_code == 422


async def test_an_upload_may_be_larger_than_a_body_and_not_larger_than_its_own_limit(tmp_path):
    settings = load_settings(data_dir=tmp_path, max_batch_bytes=2000, max_dataset_bytes=5000)
    async for http in client(settings):
        assert (await http.put("/datasets/a.csv", content=b"x" * 4000)).status_code == 201
        for content in (b"x" * 6000, chunks(6000)):
            answer = await http.put("/datasets/a.csv", content=content)
            assert answer.status_code == 413
            assert "SEEDCORE_MAX_DATASET_BYTES" in answer.json()["detail"]
        assert (settings.datasets_dir / "a.csv").stat().st_size == 4000
        answer = await http.post("/xgboost/train", content=b"x" * 3000, headers={"content-type": "application/json"})
        assert "SEEDCORE_MAX_BATCH_BYTES" in answer.json()["detail"]


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 500):
        yield b"x" * 500


@pytest.mark.integration
async def test_a_submitted_training_is_a_task_of_the_callers_tenant(whole: httpx.AsyncClient, pg_dsn: str):
    answer = await whole.post("/xgboost/train/submit", json=BUNDLED, headers={"x-seedcore-tenant": "acme"})
    assert answer.status_code == 202, answer.text
    connection = await asyncpg.connect(pg_dsn)
    try:
        task = await connection.fetchrow("select * from seedcore.tasks where id = $1::uuid", answer.json()["job_id"])
        limit = await connection.fetchval("select max_running from seedcore.limits where key like '%ml-jobs'")
    finally:
        await connection.close()
    assert (task["type"], task["tenant"]) == ("ml.train", "acme")
    assert json.loads(task["params"]) == BUNDLED
    assert limit == 2


@pytest.mark.integration
async def test_rows_that_fit_no_task_get_an_error_that_names_uploads(whole: httpx.AsyncClient):
    answer = await whole.post("/xgboost/train/submit", json={"name": "m"} | flowers(n=10_000))
    assert answer.status_code == 413
    assert "PUT /ml/datasets/{file}" in answer.json()["detail"]
    assert [error["field"] for error in answer.json()["errors"]] == ["rows"]
    for change, status in (
        ({"data_source": "none.csv"}, 404),
        ({"params": {"depth": 1}}, 422),
        ({"data_source": {"sql": "drop table x"}}, 422),
        ({"device": "cuda"}, 503),
    ):
        assert (await whole.post("/xgboost/train/submit", json=BUNDLED | change)).status_code == status
    ended = await whole.post(
        "/xgboost/train",
        json=BUNDLED | {"data_source": {"sql": "select seconds, type as target from seedcore.history"}},
    )
    assert (ended.status_code, ended.json()["errors"][0]["message"]) == (422, "has 0 rows, must have at least 10")
    unknown = await whole.post("/xgboost/train", json=BUNDLED | {"data_source": {"recorded": "none"}})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "data_source.recorded")
