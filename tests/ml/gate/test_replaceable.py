"""Which version may take the place of which."""

import pytest

from seedcore.ml.gate.replaceable import why_not_replaceable
from seedcore.ml.registry.model_manifest import ModelManifest
from tests.ml.gate.support import FACTS


def manifest(**changes: object) -> ModelManifest:
    rest = {"name": "m", "version": 1, "created_at": "2026-01-01T00:00:00Z", "sha256": "", "size_bytes": 0}
    return ModelManifest.model_validate(FACTS | rest | changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"task": "regression", "label_kind": "number", "labels": []}, "regression"),
        ({"label_kind": "string", "labels": ["a", "b"]}, "kind string"),
        ({"labels": [0, 2]}, "labels 1"),
        ({"features": ["age", "city", "height"]}, "columns height"),
        ({"features": ["age"], "columns": [{"name": "age"}]}, "columns city"),
        ({"columns": [{"name": "age"}, {"name": "city"}]}, "city are of another type"),
    ],
)
def test_what_answers_other_requests_cannot_replace(changes: dict[str, object], why: str):
    assert why in str(why_not_replaceable(manifest(), manifest(**changes)))


def test_what_knows_one_class_more_can():
    assert why_not_replaceable(manifest(), manifest(labels=[0, 1, 2], task="multiclass")) is None


def test_long_lists_are_cut():
    many = [f"c{i}" for i in range(40)]
    assert "and 30 more" in str(why_not_replaceable(manifest(), manifest(features=["age", "city", *many])))
