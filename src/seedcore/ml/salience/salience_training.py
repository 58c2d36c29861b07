"""Trains the salience, and compares what it foretells with the formula and with the champion on the newest fifth."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seedcore.decision.salience import BEFOREHAND, formula
from seedcore.ml.data.dataset import ColumnRoles, TrainLimits
from seedcore.ml.data.inline_rows import from_rows
from seedcore.ml.data.training_data import TrainingData
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.salience.batch_means import BLOCKS, Losses, gain
from seedcore.ml.salience.outcome_rows import OutcomeRow
from seedcore.ml.salience.salience_scorer import COLUMNS, NAME, feature_row
from seedcore.ml.training.checkpoints import CheckpointState
from seedcore.ml.training.fitting import Fit
from seedcore.ml.training.model_draft import train_request
from seedcore.ml.training.splits import split
from seedcore.ml.training.train import TrainedModel, TrainingOptions
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml.models import TrainRequest

LABEL, TIME = "salience", "created_s"
PARAMS: dict[str, object] = {
    "num_boost_round": 60,
    "max_depth": 3,
    "learning_rate": 0.1,
    "min_child_weight": 30,
    "reg_lambda": 5.0,
}


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that answers now.

    Attributes:
        trained_s: when it was trained, in seconds since 1970: it has learned from what was submitted before.
        foretell: what it foretells for rows.
    """

    version: int
    trained_s: float
    foretell: Callable[[Sequence[OutcomeRow]], Sequence[float]]


def train_salience(
    rows: Sequence[OutcomeRow],
    limits: TrainLimits,
    seed: int,
    job_id: str,
    champion: Champion | None,
    report: Callable[[int, int], None],
) -> tuple[ModelManifest, TrainedModel]:
    """Train on rows; (manifest without version and checksum, model). The metrics hold the comparison, on held-out rows.

    Losses are squared errors: `loss` of this model, `loss_formula` and `loss_champion` of the others; `gain` and
    `champion_gain` are how much lower `loss` is, `gain_low` what `gain` exceeds with 95 % confidence, and
    `champion_loss_low` what `-champion_gain` exceeds. `champion` is the version compared with, on the held-out rows
    that it has not learned from (`champion_rows`); 0: there was none, or there are fewer than BLOCKS such rows.

    Raises:
        InvalidInputError: there are too few rows.
        TooLargeError: there are too many.
        UnavailableError: XGBoost cannot train here and now.
    """
    table = from_rows(
        [*COLUMNS, LABEL, TIME],
        [[*feature_row(row.features), row.target, row.created_s] for row in rows],
        ColumnRoles(LABEL, time=TIME),
        limits,
    )
    request = TrainRequest(
        name=NAME, data_source="", label_column=LABEL, time_column=TIME, params=PARAMS | {"seed": seed},
        parent=None if champion is None else champion.version,
    )  # fmt: skip
    stop = threading.Event()
    options = TrainingOptions(report=report, rising=True)
    manifest, trained = train_request(request, TrainingData(table, "history"), stop, options, job_id)
    # The model that is measured: fitted without the newest fifth, as in `train`.
    parts = split(table, seed)
    params = resolve_params(request.params)
    fit = Fit(table, trained.task, params, stop, lambda _done, _total: None, rising=True)
    fitted = fit.run(CheckpointState(key=""), None, parts.fitting, fit.rounds)
    order = parts.held[np.argsort([rows[n].created_s for n in parts.held], kind="stable")]
    held = [rows[n] for n in order]
    own = _losses(held, fitted.inplace_predict(table.matrix[order]).tolist())
    found = _compared(held, own, champion)
    return manifest.model_copy(update={"metrics": manifest.metrics | found}), trained


def _compared(held: Sequence[OutcomeRow], own: Losses, champion: Champion | None) -> dict[str, float]:
    by_formula = _losses(held, [formula(row.features, BEFOREHAND) for row in held])
    over_formula = gain(by_formula, own)
    found = {
        "loss": float(own.mean()),
        "loss_formula": float(by_formula.mean()),
        "gain": over_formula.mean,
        "gain_low": over_formula.low,
        "champion": 0.0,
    }
    new = [] if champion is None else [n for n, row in enumerate(held) if row.created_s > champion.trained_s]
    if champion is not None and len(new) >= BLOCKS:
        held, own = [held[n] for n in new], own[new]
        before = _losses(held, champion.foretell(held))
        found |= {
            "champion": float(champion.version),
            "champion_rows": float(len(new)),
            "loss_champion": float(before.mean()),
            "champion_gain": gain(before, own).mean,
            "champion_loss_low": gain(own, before).low,
        }
    return found


def _losses(held: Sequence[OutcomeRow], foretold: Sequence[float]) -> Losses:
    errors = np.clip(np.asarray(foretold, dtype=np.float64), 0.0, 1.0) - [row.target for row in held]
    return np.asarray(errors**2, dtype=np.float64)
