"""Models that were trained elsewhere: what is taken, and what is refused without harm to the service."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xgboost

from seedcore.ml.registry.import_probe import MAX_BYTES
from seedcore.ml.service import MLService

FEATURES = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, FEATURES)).astype(np.float32)
TARGETS = {
    "binary:logistic": (X[:, 0] > 0).astype(float),
    "multi:softprob": np.arange(60) % 3,
    "reg:squarederror": X[:, 0] * 2,
    "rank:pairwise": X[:, 0],
}


def booster(objective: str = "binary:logistic", **more: Any) -> xgboost.Booster:
    given = {"names": None, "types": None, "params": {}} | more
    params = {"objective": objective, "max_depth": 3, "nthread": 1} | given["params"]
    if objective == "multi:softprob":
        params["num_class"] = 3
    data = xgboost.DMatrix(X, label=TARGETS[objective], feature_names=given["names"], feature_types=given["types"])
    return xgboost.train(params, data, 4)


@pytest.fixture
def folder(service: MLService) -> Path:
    folder = service.settings.models_dir / ".import"
    folder.mkdir()
    return folder


async def load(http: httpx.AsyncClient, path: str, **more: object) -> httpx.Response:
    return await http.post("/xgboost/load_model", json={"name": "m", "path": path, **more})


@pytest.mark.parametrize("suffix", ["ubj", "json"])
async def test_an_imported_model_predicts_what_the_original_does(
    http: httpx.AsyncClient, folder: Path, suffix: str
) -> None:
    original = booster(names=["a", "b", "c"])
    (folder / "sub").mkdir()
    original.save_model(folder / "sub" / f"m.{suffix}")
    answer = await load(http, f"sub/m.{suffix}", labels=["no", "yes"])
    assert answer.status_code == 200, answer.text
    assert [c["name"] for c in answer.json()["schema"]["features"]] == ["a", "b", "c"]
    ask = {"name": "m", "features": dict(zip("abc", map(float, X[0]), strict=True))}
    found = (await http.post("/xgboost/predict", json=ask)).json()
    assert found["probabilities"]["yes"] == pytest.approx(float(original.inplace_predict(X[:1])[0]), abs=1e-6)
    info = (await http.get("/xgboost/model_info", params={"name": "m"})).json()
    assert (info["lineage"]["source"], info["lineage"]["query"]) == ("import", f"sub/m.{suffix}")


@pytest.mark.parametrize(("objective", "task"), [("multi:softprob", "multiclass"), ("reg:squarederror", "regression")])
async def test_the_task_is_that_of_the_objective(
    http: httpx.AsyncClient, folder: Path, objective: str, task: str
) -> None:
    booster(objective).save_model(folder / "m.ubj")
    schema = (await load(http, "m.ubj")).json()["schema"]
    assert (schema["task"], schema["labels"]) == (task, [0, 1, 2] if task == "multiclass" else None)


@pytest.mark.parametrize(
    "path", ["../m.ubj", "/etc/passwd.ubj", "a/../../m.ubj", "./m.ubj", "a//m.ubj", "m.txt", "m.ubj\0", "\ud800.ubj"]
)
async def test_a_path_that_leaves_the_folder_is_refused(http: httpx.AsyncClient, folder: Path, path: str) -> None:
    body = json.dumps({"name": "m", "path": path}).encode()
    answer = await http.post("/xgboost/load_model", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "path"


async def test_a_file_that_is_not_there_is_not_found(http: httpx.AsyncClient, folder: Path) -> None:
    assert (await load(http, "m.ubj")).status_code == 404
    assert (await load(http, "no/m.ubj")).status_code == 404


async def test_links_and_special_files_are_refused(http: httpx.AsyncClient, folder: Path, tmp_path: Path) -> None:
    booster().save_model(tmp_path / "outside.ubj")
    (folder / "link.ubj").symlink_to(tmp_path / "outside.ubj")
    (folder / "away").symlink_to(tmp_path)
    (folder / "folder.ubj").mkdir()
    os.mkfifo(folder / "pipe.ubj")
    with (folder / "large.ubj").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name in ("link.ubj", "folder.ubj", "pipe.ubj", "large.ubj"):
        answer = await load(http, name)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "path"), name
    assert (await load(http, "away/outside.ubj")).status_code in (404, 422)


def _changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(bytes(booster().save_raw("json")))
    change(document["learner"])
    return json.dumps(document).encode()


def _tree(learner: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = learner["gradient_booster"]["model"]["trees"][0]
    return found


def _circle(learner: dict[str, Any]) -> None:
    _tree(learner)["left_children"][0] = 0


def _unknown_feature(learner: dict[str, Any]) -> None:
    _tree(learner)["split_indices"][0] = 77


def _many_features(learner: dict[str, Any]) -> None:
    learner["learner_model_param"]["num_feature"] = "100000000"


HALF = bytes(booster().save_raw("ubj"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{" + b"[" * 100_000 + b"}",
        os.urandom(2000),
        HALF[: len(HALF) // 2] + b"}",
        bytes(booster("rank:pairwise").save_raw("ubj")),
        _changed(_circle),
        _changed(_unknown_feature),
        _changed(_many_features),
    ],
    ids=[
        "empty", "deep", "random", "half closed", "ranking", "circle",
        "unknown feature", "many features",
    ],
)  # fmt: skip
async def test_a_hostile_file_is_refused_and_stores_nothing(
    http: httpx.AsyncClient, service: MLService, folder: Path, content: bytes
) -> None:
    (folder / "m.ubj").write_bytes(content)
    answer = await load(http, "m.ubj")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "path"), answer.text
    assert service.parts.store.versions("m") == []


@pytest.mark.parametrize("labels", [["a"], ["a", "a"], ["a", 1], [0.5, 1.5]])
async def test_labels_must_fit_the_classes(http: httpx.AsyncClient, folder: Path, labels: list[object]) -> None:
    booster().save_model(folder / "m.ubj")
    answer = await load(http, "m.ubj", labels=labels)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "labels")


async def test_categories_without_their_texts_are_refused(http: httpx.AsyncClient, folder: Path) -> None:
    data = xgboost.DMatrix(
        np.abs(X).round(), label=TARGETS["binary:logistic"], feature_types=["c", "q", "q"], enable_categorical=True
    )
    xgboost.train({"objective": "binary:logistic", "max_cat_to_onehot": 1}, data, 3).save_model(folder / "m.ubj")
    assert "categories" in (await load(http, "m.ubj")).json()["errors"][0]["message"]
