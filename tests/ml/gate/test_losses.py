"""Losses and labels: what counts as wrong, how far off a regression is, and which labels fit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.ml.gate.losses import brier, label_problem, loss
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.schemas.ml.models import LabelKind
from tests.ml.gate.support import FACTS


def manifest(**changes: object) -> ModelManifest:
    rest = {"name": "m", "version": 1, "created_at": "2026-01-01T00:00:00Z", "sha256": "", "size_bytes": 0}
    return ModelManifest.model_validate(FACTS | rest | changes)


def regression(scale: float | None) -> ModelManifest:
    return manifest(task="regression", label_kind="number", labels=[], loss_scale=scale)


def test_a_class_is_right_or_wrong_and_no_answer_is_wrong():
    assert loss({"prediction": 1}, 1, manifest()) == 0.0
    assert loss({"prediction": 0}, 1, manifest()) == 1.0
    assert loss(None, 1, manifest()) == 1.0
    assert loss({"prediction": 1}, 7, manifest()) == 1.0


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_the_loss_of_a_regression_grows_with_the_error_up_to_1(said: float, true: float, scale: float):
    found = loss({"prediction": said}, true, regression(scale))
    assert found == min(abs(said - true) / scale, 1.0)
    assert 0.0 <= loss({"prediction": said}, true, regression(None)) <= 1.0


def test_a_regression_that_says_no_number_has_lost():
    assert loss({"prediction": math.nan}, 1.0, regression(1.0)) == 1.0
    assert loss({"prediction": None}, 1.0, regression(1.0)) == 1.0


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=6), st.integers(0, 8))
def test_the_brier_score_is_within_its_bounds(weights: list[float], true: int):
    given_ = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    found = brier({"prediction": 0, "probabilities": given_}, true)
    assert found is not None
    assert 0.0 <= found <= 1.0


def test_the_brier_score_of_certainty_is_0_or_1_and_needs_probabilities():
    sure = {"prediction": True, "probabilities": {"true": 1.0, "false": 0.0}}
    assert (brier(sure, True), brier(sure, False)) == (0.0, 1.0)
    assert brier({"prediction": 1.5, "probabilities": None}, 1.5) is None
    assert brier(None, 1) is None


@pytest.mark.parametrize(
    ("label", "kind", "fits"),
    [
        (True, "boolean", True),
        (1, "boolean", False),
        ("a", "string", True),
        ("", "string", True),
        (3, "integer", True),
        (3.0, "integer", True),
        (3.5, "integer", False),
        (True, "integer", False),
        (10**400, "number", False),
        (math.nan, "number", False),
        (2, "number", True),
    ],
)
def test_a_label_fits_its_kind_or_the_text_says_why(label: object, kind: LabelKind, fits: bool):
    assert (label_problem(label, kind) is None) == fits
