"""Input that no client should send: each answer is a problem document that names the field, and the service goes on."""

import io
import json
from collections.abc import AsyncIterator

import httpx
import pyarrow
import pyarrow.parquet
import pytest

from seedcore.errors import InvalidInputError
from seedcore.ml.data.dataset import ColumnRoles, TrainLimits
from seedcore.ml.data.history_rows import history_table
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from tests.ml.data.test_history_rows import _ENDED

HALF = "\ud800"
"""Of a surrogate pair: JSON can spell it, UTF-8 cannot."""
HUGE = 10**400


async def posted(http: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
    # `json=` would refuse what JSON can spell and UTF-8 cannot.
    return await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


def refused(answer: httpx.Response, field: str) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"].startswith(field)


def labelled(first: object, second: object) -> dict[str, object]:
    rows = [[float(i), second if i % 2 else first] for i in range(20)]
    return {"name": "m", "columns": ["x", "y"], "rows": rows, "label_column": "y", "params": {"n_estimators": 2}}


@pytest.mark.parametrize(
    ("first", "second"), [(HALF, "b"), ("a\0", "b"), (2**63, 1), (-(2**63) - 1, 1), (HUGE, 1.5), (10**39, 1.5)]
)
async def test_labels_that_no_answer_could_hold_are_refused(http: httpx.AsyncClient, first: object, second: object):
    answer = await posted(http, "/xgboost/train", labelled(first, second))
    refused(answer, "rows.0")


async def test_the_largest_integers_are_labels(http: httpx.AsyncClient):
    assert (await posted(http, "/xgboost/train", labelled(2**63 - 1, -(2**63)))).status_code == 200
    answer = await posted(http, "/xgboost/predict", {"name": "m", "features": [0.0]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["prediction"] in (2**63 - 1, -(2**63))


@pytest.mark.parametrize("text", [HALF, "a\0"])
async def test_texts_that_cannot_be_stored_are_no_names_and_no_categories(http: httpx.AsyncClient, text: str):
    body = labelled("a", "b")
    refused(await posted(http, "/xgboost/train", body | {"columns": [text, "y"]}), "columns")
    rows = [[text if i % 2 else "red", i % 2] for i in range(20)]
    refused(await posted(http, "/xgboost/train", body | {"rows": rows}), "rows.1")


@pytest.mark.parametrize("name", ["eta", "seed", "max_depth"])
async def test_a_parameter_of_400_digits_is_out_of_range(http: httpx.AsyncClient, name: str):
    refused(await posted(http, "/xgboost/train", labelled("a", "b") | {"params": {name: HUGE}}), f"params.{name}")


@pytest.mark.parametrize("version", [2**63, 10**300])
async def test_no_version_has_more_than_64_bits(http: httpx.AsyncClient, version: int):
    for path, more in (("predict", {"features": [1]}), ("batch_predict", {"rows": [[1]]}), ("promote", {})):
        refused(await posted(http, f"/xgboost/{path}", {"name": "m", "version": version, **more}), "version")
    refused(await http.get("/xgboost/model_info", params={"name": "m", "version": str(version)}), "version")


async def test_what_drift_scoring_refuses_names_its_field(http: httpx.AsyncClient):
    refused(await posted(http, "/drift/score", {"state": "AAAA", "observations": [[1]]}), "state")
    refused(await posted(http, "/drift/score", {"reference": [[1]], "observations": [[1]]}), "reference")


async def test_a_series_has_a_name_that_can_be_answered(http: httpx.AsyncClient):
    body = {"columns": {HALF: [1.0] * 8, "b": [2.0] * 8}}
    refused(await posted(http, "/detect/anomaly", body), "columns")


def parquet(feature: pyarrow.Array) -> bytes:
    target = io.BytesIO()
    labels = pyarrow.array([i % 2 for i in range(len(feature))])
    pyarrow.parquet.write_table(pyarrow.table({"x": feature, "y": labels}), target)
    return target.getvalue()


NOT_UTF8 = pyarrow.Array.from_buffers(
    pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")]
)


@pytest.mark.parametrize(
    "feature",
    [
        pyarrow.concat_arrays([NOT_UTF8] * 20),
        pyarrow.array([2**62] * 20, pyarrow.timestamp("us")),
        pyarrow.array([2**31 - 1] * 20, pyarrow.date32()),
    ],
    ids=["not UTF-8", "a time after 9999", "a day after 9999"],
)
async def test_values_of_parquet_that_cannot_be_read_are_refused(http: httpx.AsyncClient, feature: pyarrow.Array):
    assert (await http.put("/datasets/odd.parquet", content=parquet(feature))).status_code == 201
    body = {"name": "m", "data_source": "odd.parquet", "label_column": "y"}
    refused(await posted(http, "/xgboost/train", body), "data_source")


async def test_long_texts_of_parquet_are_held_once(http: httpx.AsyncClient):
    """50 kB of a file that would be 20 GB of texts."""
    one = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000), pyarrow.array(["x" * 1_000_000]))
    assert (await http.put("/datasets/bomb.parquet", content=parquet(one))).status_code == 201
    body = {"name": "m", "data_source": "bomb.parquet", "label_column": "y"}
    refused(await posted(http, "/xgboost/train", body), "data_source")


async def test_texts_of_parquet_are_categories(http: httpx.AsyncClient):
    feature = pyarrow.array([None if i == 4 else ("red", "blue")[i % 2] for i in range(40)])
    assert (await http.put("/datasets/good.parquet", content=parquet(feature))).status_code == 201
    answer = await posted(http, "/xgboost/train", {"name": "m", "data_source": "good.parquet", "label_column": "y"})
    assert answer.status_code == 200, answer.text
    [column] = answer.json()["schema"]["features"]
    assert (column["categories"], column["missing"]) == (["blue", "red"], 1)


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings, size=1)
    async with made.connection() as connection:
        await connection.execute(_ENDED, "default", 40)
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::interval",
        "'infinity'::timestamptz",
        "'-infinity'::timestamptz",
        "'294276-12-31'::timestamptz",
        "'4713-01-01 BC'::timestamptz",
        "'Infinity'::numeric",
        "10::numeric ^ 100000",
        "'1e400'::jsonb",
        "'\"\\ud800\"'::json",
    ],
)
async def test_values_of_a_query_that_cannot_be_read_are_refused(database: Database, value: str):
    sql = f"select {value} as x, status = 'completed' as ok from seedcore.history"
    with pytest.raises(InvalidInputError) as caught:
        await history_table(database, sql, "default", ColumnRoles("ok"), TrainLimits(1000), 20)
    assert caught.value.errors[0].field.startswith("data_source")
    good = "select priority as x, status = 'completed' as ok from seedcore.history"
    table = await history_table(database, good, "default", ColumnRoles("ok"), TrainLimits(1000), 20)
    assert len(table.targets) == 40
