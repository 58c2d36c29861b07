"""A model whose file has the checksum of its manifest and is yet no model, or another one than the manifest says."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest

from seedcore.ml.registry.model_store import MANIFEST, MODEL
from seedcore.ml.service import MLService
from tests.ml.support import flowers

FEW = {"num_boost_round": 3}


@pytest.fixture
async def trained(http: httpx.AsyncClient, service: MLService) -> MLService:
    assert (await http.post("/xgboost/train", json={"name": "m", **flowers(), "params": FEW})).status_code == 200
    return service


def _wrong_features(manifest: dict[str, Any]) -> None:
    manifest["features"] = manifest["features"][:2]


def _wrong_labels(manifest: dict[str, Any]) -> None:
    manifest["labels"] = manifest["labels"][:2]


def _wrong_task(manifest: dict[str, Any]) -> None:
    manifest |= {"task": "binary", "labels": manifest["labels"][:2]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda ubj: b"",
        lambda ubj: b"x" * 100,
        lambda ubj: b"{}",
        lambda ubj: ubj[: len(ubj) // 2],
        lambda ubj: b"{}" + ubj,
        _wrong_features,
        _wrong_labels,
        _wrong_task,
    ],
    ids=["empty", "text", "no object", "half", "two objects", "features", "labels", "task"],
)
async def test_a_damaged_model_is_a_conflict_that_says_what_to_do(
    trained: MLService, http: httpx.AsyncClient, damage: Callable[..., Any]
):
    folder = trained.settings.models_dir / "m" / "1"
    manifest = json.loads((folder / MANIFEST).read_bytes())
    content = (folder / MODEL).read_bytes()
    if damage in (_wrong_features, _wrong_labels, _wrong_task):
        damage(manifest)
    else:
        content = damage(content)
    (folder / MODEL).write_bytes(content)
    manifest |= {"sha256": sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    features = dict.fromkeys(["length", "width", "noise"], 0.0)
    for path, body in (("predict", {"features": features}), ("batch_predict", {"rows": [features]})):
        answer = await http.post(f"/xgboost/{path}", json={"name": "m", **body})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
        assert "is damaged" in answer.json()["detail"]
        assert "train it again" in answer.json()["detail"]
