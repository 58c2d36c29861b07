"""Training: the version is monotone, and the comparison on the newest rows decides whether it may answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from seedcore.decision.salience import BEFOREHAND, formula
from seedcore.ml.data.dataset import TrainLimits
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.salience.outcome_rows import OutcomeRow, outcome_rows
from seedcore.ml.salience.salience_job import why_not_better
from seedcore.ml.salience.salience_scorer import COLUMNS, foretell
from seedcore.ml.salience.salience_training import Champion, train_salience
from tests.ml.salience.history import DAY_S, ended_tasks

LIMITS = TrainLimits(100_000)


def quiet(_done: int, _total: int) -> None:
    """No report."""


@dataclass(frozen=True)
class Trained:
    metrics: dict[str, float]
    model: LoadedModel


def train(champion=None, **given) -> Trained:
    rows = outcome_rows(ended_tasks(**given))
    manifest, trained = train_salience(rows, LIMITS, 0, "job", champion, quiet)
    manifest = manifest.model_copy(update={"version": 1})
    return Trained(manifest.metrics, LoadedModel(manifest, trained.ubj))


@pytest.fixture(scope="module")
def learned() -> Trained:
    return train()


def test_what_the_formula_does_not_expect_is_learned_and_wins(learned: Trained):
    assert learned.metrics["loss"] < learned.metrics["loss_formula"]
    assert 0.0 < learned.metrics["gain_low"] < learned.metrics["gain"]
    assert why_not_better(learned.metrics, None) is None
    assert learned.metrics["n_valid"] == 240


def test_a_rising_feature_never_lowers_what_is_foretold(learned: Trained):
    rng = np.random.default_rng(0)
    grids = {
        "priority": [-50, 0, 50],
        "attempts": [1, 2, 5],
        "params_bytes": [0, 400, 60_000],
        "seconds_ratio": [0.5, 1, 4],
        "failure_share": [0, 0.2, 0.9],
        "valve_evidence": [0, 0.1, 0.9],
        "dead_letters": [0, 5, 80],
    }
    for _ in range(60):
        base = {name: rng.choice(values) for name, values in grids.items()}
        for name, values in grids.items():
            low, middle, high = foretell(learned.model, [base | {name: value} for value in values])
            assert 0.0 <= low <= middle + 1e-6 <= high + 2e-6 <= 1.0 + 2e-6


def test_where_the_formula_is_right_the_version_does_not_answer():
    def ended(n: int, share: float) -> OutcomeRow:
        return OutcomeRow({"failure_share": share}, formula({"failure_share": share}), float(n))

    rng = np.random.default_rng(1)
    made = train_salience([ended(n, rng.random()) for n in range(800)], LIMITS, 0, "job", None, quiet)[0]
    told = why_not_better(made.metrics, None)
    assert told is not None
    assert "not surely lower than the formula's 0.00000" in told


def test_a_sure_gain_that_is_hardly_one_does_not_replace_the_formula(learned: Trained):
    metrics = learned.metrics | {"loss": 0.04709, "loss_formula": 0.04719, "gain": 0.0001, "gain_low": 0.00008}
    assert "must exceed 0.00094" in str(why_not_better(metrics, None))
    assert why_not_better(metrics | {"gain_low": 0.00095}, None) is None


def by_features(rows: list[OutcomeRow]) -> Callable[[Sequence[OutcomeRow]], list[float]]:
    """One that knows what became of each task."""
    known = {row.created_s: row.target for row in rows}
    return lambda held: [known[row.created_s] for row in held]


def test_a_version_that_loses_to_the_champion_on_what_is_new_to_both_does_not_answer():
    oracle = by_features(outcome_rows(ended_tasks()))
    beaten = train(Champion(7, 0.9 * DAY_S, oracle))
    assert (beaten.metrics["champion"], beaten.metrics["champion_rows"]) == (7, pytest.approx(119, abs=1))
    assert beaten.metrics["loss_champion"] == 0.0
    told = why_not_better(beaten.metrics, 7)
    assert told is not None
    assert "higher than the champion's" in told
    assert "became champion while" in str(why_not_better(beaten.metrics, 8))
    # One that was taken away meanwhile need not be beaten.
    assert "higher" in str(why_not_better(beaten.metrics, None))


def test_a_champion_is_not_judged_by_what_it_has_learned_from():
    oracle = by_features(outcome_rows(ended_tasks()))
    made = train(Champion(7, 2 * DAY_S, oracle))
    assert made.metrics["champion"] == 0
    assert why_not_better(made.metrics, 7) is None


def test_a_champion_that_is_equally_good_is_replaced(learned: Trained):
    def same(held: Sequence[OutcomeRow]) -> list[float]:
        return foretell(learned.model, [row.features for row in held])

    rows = outcome_rows(ended_tasks(2_400, seed=1))
    again = train_salience(rows, LIMITS, 0, "job", Champion(1, 0.0, same), quiet)[0]
    assert again.metrics["champion"] == 1
    assert why_not_better(again.metrics, 1) is None


def test_columns_are_the_features_known_beforehand():
    assert [feature.name for feature in BEFOREHAND] == COLUMNS
    assert formula(dict.fromkeys(COLUMNS)) == 0.0
