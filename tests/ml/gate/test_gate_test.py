"""The gate's test: what it promotes and refuses, how often it is wrong, and that a crash changes nothing."""

import json
import math
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.ml.gate.betting_mean import log_capital
from seedcore.ml.gate.gate_test import AnswerPair, GateDecision, GateTerms, GateTest
from seedcore.ml.gate.slices import MISSING, slice_values
from seedcore.ml.registry.model_manifest import ModelManifest
from tests.ml.gate.support import FACTS

ALPHA = 0.05


def manifest(**changes: object) -> ModelManifest:
    stored = {"name": "m", "version": 1, "created_at": datetime.now(UTC), "sha256": "", "size_bytes": 1}
    return ModelManifest.model_validate(FACTS | stored | {"slices": {"city": 0.1}} | changes)


def differences(rng: np.random.Generator, size: tuple[int, int], gain: float, discordant: float) -> np.ndarray:
    """Champion's loss minus candidate's, of answers that differ in a share of tasks."""
    u = rng.random(size)
    better = (discordant + gain) / 2
    return np.where(u < better, 1, np.where(u < discordant, -1, 0))


def promoted_within(values: np.ndarray, terms: GateTerms) -> np.ndarray:
    """In which runs the gain is proven; what `GateTest` does after each pair, for many runs at once."""
    found = []
    for run in values:
        counts = np.cumsum(run[:, None] == np.array([-1, 0, 1]), axis=0).astype(float)
        capital = log_capital(counts, np.array([-1.0, 0.0, 1.0]), terms.margin)
        found.append(capital[terms.min_outcomes - 1 :].max() >= math.log(1 / terms.alpha))
    return np.array(found)


def run(terms: GateTerms, values: np.ndarray) -> tuple[GateTest, GateDecision | None]:
    test = GateTest(terms)
    for value in values:
        decision = test.add_losses(float(value > 0), float(value < 0))
        if decision is not None:
            return test, decision
    return test, None


def test_of_a_thousand_pairs_without_a_gain_at_most_alpha_are_promoted():
    values = differences(np.random.default_rng(1), (1_000, 2_000), 0.0, 0.15)
    assert promoted_within(values, GateTerms(alpha=ALPHA)).mean() <= ALPHA


@pytest.mark.parametrize(("accuracy", "independent_part"), [(0.80, 0.8), (0.85, 0.8), (0.90, 0.8)])
def test_a_gain_of_five_points_is_promoted_in_nine_of_ten_runs(accuracy: float, independent_part: float):
    """Answers of two models of the same tasks are correlated: they differ less often than independent ones would."""
    independent = accuracy * (0.95 - accuracy) + (accuracy + 0.05) * (1 - accuracy)
    values = differences(np.random.default_rng(2), (200, 2_000), 0.05, independent * independent_part)
    assert promoted_within(values, GateTerms(alpha=ALPHA)).mean() >= 0.9


def test_the_test_itself_decides_as_the_simulation_does():
    terms = GateTerms(alpha=ALPHA, max_outcomes=600)
    values = differences(np.random.default_rng(3), (12, 600), 0.08, 0.2)
    promoted = promoted_within(values, terms)
    for row, expected in zip(values, promoted, strict=True):
        test, decision = run(terms, row)
        assert decision is not None
        assert (decision.verdict == "promote") == expected
        assert test.evidence()["outcomes"] == decision.outcomes


def test_a_worse_candidate_and_an_equal_one_are_refused():
    rng = np.random.default_rng(4)
    _, worse = run(GateTerms(), differences(rng, (1, 3_000), -0.05, 0.2)[0])
    assert worse is not None
    assert worse.verdict == "refuse"
    assert worse.outcomes < 3_000
    _, same = run(GateTerms(), np.zeros(5_000))
    assert same is not None
    assert same.verdict == "refuse"
    assert same.outcomes < 2_000


def test_it_ends_at_the_bound_and_says_what_is_missing():
    _, decision = run(GateTerms(max_outcomes=300), np.array([1, -1] * 200))
    assert decision == GateDecision("refuse", "After 300 outcomes a gain is not shown.", 300)


def test_nothing_is_decided_before_the_minimum():
    test, decision = run(GateTerms(min_outcomes=150), np.ones(149))
    assert decision is None
    assert test.add_losses(1.0, 0.0) == GateDecision(
        "promote", "The candidate loses less than the champion, and keeps every floor.", 150
    )


def test_a_slice_that_loses_stops_what_gains_in_all():
    rng = np.random.default_rng(5)
    test = GateTest(GateTerms(slices={"city": 0.05}))
    for _ in range(3_000):
        city = "Kyiv" if rng.random() < 0.25 else "Bern"
        value = differences(rng, (1, 1), -0.2 if city == "Kyiv" else 0.2, 0.3)[0, 0]
        decision = test.add_losses(float(value > 0), float(value < 0), {"city": city})
        if decision is not None:
            break
    assert decision is not None
    assert (decision.verdict, "Kyiv" in decision.reason) == ("refuse", True)
    statuses = {one["value"]: one["status"] for one in test.evidence()["slices"]}  # type: ignore[attr-defined]
    assert statuses["Kyiv"] == "broken"


def test_a_slice_must_be_shown_to_keep_its_margin_unless_it_is_rare():
    rng = np.random.default_rng(6)
    test, decision, gain_shown = GateTest(GateTerms(slices={"city": 0.1})), None, 0
    for i in range(4_000):
        city = "Oslo" if i % 200 == 7 else "Kyiv" if i % 5 == 0 else "Bern"
        value = differences(rng, (1, 1), 0.06, 0.15)[0, 0]
        decision = test.add_losses(float(value > 0), float(value < 0), {"city": city})
        if not gain_shown and i >= 100 and test.gain.log_evidence(0.0) >= math.log(1 / ALPHA):
            gain_shown = i + 1
        if decision is not None:
            break
    assert decision is not None
    assert decision.verdict == "promote"
    assert decision.outcomes >= gain_shown
    statuses = {one["value"]: one["status"] for one in test.evidence()["slices"]}  # type: ignore[attr-defined]
    assert statuses == {"Oslo": "few", "Kyiv": "held", "Bern": "held"}


def pair(rng: np.random.Generator, sure: float, seconds: float, better: float = 0.95) -> AnswerPair:
    """A champion that is right in 80 of 100 and says so; a candidate that is right in `better`, and claims `sure`."""
    label = int(rng.random() < 0.5)

    def answer(right: float, claimed: float) -> dict[str, object]:
        said = label if rng.random() < right else 1 - label
        return {"prediction": said, "probabilities": {str(said): claimed, str(1 - said): 1 - claimed}}

    took = 0.01 * rng.lognormal(0, 0.2)
    return AnswerPair(answer(0.8, 0.8), answer(better, sure), label, took, took * seconds)


@pytest.mark.parametrize(
    ("sure", "seconds", "verdict", "why"),
    [
        (0.95, 1.1, "promote", "keeps every floor"),
        (0.5, 1.1, "refuse", "probabilities"),
        (0.95, 5.0, "refuse", "slower"),
    ],
)
def test_floors_hold_whatever_is_gained(sure: float, seconds: float, verdict: str, why: str):
    rng, test, decision = np.random.default_rng(8), GateTest(GateTerms()), None
    for _ in range(2_000):
        decision = test.add(pair(rng, sure, seconds), manifest())
        if decision is not None:
            break
    assert decision is not None
    assert decision.verdict == verdict
    assert why in decision.reason


def test_a_candidate_that_cannot_answer_has_lost_that_task():
    test = GateTest(GateTerms())
    champion = {"prediction": 1, "probabilities": {"0": 0.1, "1": 0.9}}
    for _ in range(200):
        decision = test.add(AnswerPair(champion, None, 1), manifest())
        if decision is not None:
            break
    assert decision is not None
    assert decision.verdict == "refuse"
    assert test.evidence()["unanswered"] == test.outcomes
    assert test.evidence()["loss"] == {"champion": 0.0, "candidate": 1.0}


@settings(max_examples=10)
@given(st.lists(st.integers(1, 40), max_size=3), st.integers(0, 2**31))
def test_a_crash_between_any_two_batches_changes_nothing(batches: list[int], seed: int):
    pairs = [pair(np.random.default_rng(seed + i), 0.9, 1.0) for i in range(sum(batches))]
    terms, made = GateTerms(min_outcomes=30, slices={"city": 0.1}), manifest()
    whole, stored = GateTest(terms), GateTest(terms)
    for one in pairs:
        whole.add(one, made)
    left = list(pairs)
    for size in batches:
        stored = GateTest(GateTerms.from_json(terms.to_json()), json.loads(json.dumps(stored.to_json())))
        for one in left[:size]:
            stored.add(one, made)
        left = left[size:]
    assert stored.to_json() == whole.to_json()
    assert stored.evidence() == whole.evidence()


def test_a_regression_is_judged_by_one_scale_for_both():
    champion = manifest(task="regression", label_kind="number", labels=[], loss_scale=1.0)
    test = GateTest(GateTerms())
    test.add(AnswerPair({"prediction": 1.25}, {"prediction": 1.5}, 1.0), champion)
    assert test.evidence()["loss"] == {"champion": 0.25, "candidate": 0.5}


def test_the_points_of_the_plot_are_few_and_nested():
    test, _ = run(GateTerms(max_outcomes=100_000), differences(np.random.default_rng(9), (1, 5_000), 0.0, 0.3)[0])
    points = test.evidence()["points"]
    assert isinstance(points, list)
    assert len(points) < 300
    lows, highs = [point[2] for point in points], [point[3] for point in points]
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)


def test_values_of_slices_are_categories_and_numbers():
    row = [33.0, 1.0]
    assert slice_values(manifest(), ("city", "age", "gone"), row) == {"city": "Kyiv", "age": "33"}
    assert slice_values(manifest(), ("city",), [33.0, None]) == {"city": MISSING}
    assert slice_values(manifest(), ("city",), [33.0, 7.0]) == {"city": "7"}


def test_a_look_at_many_slices_takes_no_time_that_a_decision_would_wait_for():
    random = np.random.default_rng(3)
    test = GateTest(GateTerms(slices={"city": 0.05}, max_outcomes=100_000))
    began = time.process_time()
    for _ in range(1_000):
        first, second = (float(random.random() < 0.2) for _ in range(2))
        assert test.add_losses(first, second, {"city": str(random.integers(16))}) is None
    # The gate has two seconds for a batch of so many.
    assert time.process_time() - began < 1.5
    assert len(test.evidence()["slices"]) == 16  # type: ignore[arg-type]
