"""Fits one model with XGBoost, round by round: reports, stops early, keeps checkpoints."""

import json
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from seedcore.errors import DeadlineError, NotConfiguredError
from seedcore.ml.data.column_encoder import feature_types
from seedcore.ml.data.dataset import Table
from seedcore.ml.training.checkpoints import CheckpointState, JobCheckpoint
from seedcore.ml.training.splits import Rows
from seedcore.schemas.ml.models import Task

if TYPE_CHECKING:
    import xgboost

# Below this many rows a second thread costs more than it saves.
_ROWS_PER_THREAD = 20_000

OBJECTIVES: dict[Task, str] = {
    "binary": "binary:logistic",
    "multiclass": "multi:softprob",
    "regression": "reg:squarederror",
}


def check_device(device: str) -> None:
    """Check that the installed XGBoost was built for the device.

    Raises:
        NotConfiguredError: it was not; the text says what to install.
    """
    import xgboost

    if device == "cuda" and not xgboost.build_info().get("USE_CUDA"):
        raise NotConfiguredError(
            "device `cuda` needs XGBoost's GPU build: `pip uninstall xgboost-cpu`, then `pip install seedcore[gpu]`; "
            "or train with device `cpu`."
        )


def booster_options(
    task: Task, n_classes: int, params: dict[str, float | int], threads: int, device: str = "cpu"
) -> dict[str, float | int | str]:
    """XGBoost's options for parameters of `resolve_params`."""
    options: dict[str, float | int | str] = {k: v for k, v in params.items() if k != "num_boost_round"}
    options |= {"objective": OBJECTIVES[task], "tree_method": "hist", "nthread": threads, "verbosity": 0}
    if device != "cpu":
        options["device"] = device
    if task == "multiclass":
        options["num_class"] = n_classes
    if task != "binary":
        options.pop("scale_pos_weight", None)
    return options


def threads_for(rows: int) -> int:
    """How many threads pay for so many rows."""
    return min(os.cpu_count() or 1, 1 + rows // _ROWS_PER_THREAD)


class Fit:
    """Fits models on parts of one table.

    Args:
        stop: when set, fitting ends after the current tree.
        report: is called after each round with (rounds done, rounds in all).
        checkpoint: where rounds are kept now and then.
        device: `cpu` or `cuda`.
        rising: whether no answer may fall when a feature rises.
    """

    def __init__(
        self,
        table: Table,
        task: Task,
        params: dict[str, float | int],
        stop: threading.Event,
        report: Callable[[int, int], None],
        checkpoint: JobCheckpoint | None = None,
        device: str = "cpu",
        *,
        rising: bool = False,
    ) -> None:
        self._rising = rising
        self._table, self._task, self._params, self._device = table, task, params, device
        self._stop, self._report, self._checkpoint = stop, report, checkpoint
        self.rounds = int(params["num_boost_round"])

    def run(
        self,
        state: CheckpointState,
        raw: bytes | None,
        fitting: Rows,
        rounds: int,
        stopping: Rows | None = None,
        patience: int | None = None,
    ) -> "xgboost.Booster":
        """Fit `fitting` from where `state` and the booster `raw` are; `state` goes along.

        Without `patience` it ends after `rounds`, else also after so many without a better score on `stopping`.

        Raises:
            DeadlineError: `stop` was set.
            NotConfiguredError: the device is not there.
            UnavailableError: a checkpoint cannot be written.
        """
        import xgboost

        threads = threads_for(len(fitting))
        options = booster_options(self._task, len(self._table.labels), self._params, threads, self._device)
        if self._rising:
            options["monotone_constraints"] = "(" + ",".join("1" for _ in self._table.columns) + ")"
        data = self._matrix(fitting, threads)
        watched = self._matrix(stopping, threads, data) if patience and stopping is not None else None
        given = [data] if watched is None else [data, watched]
        booster = xgboost.Booster(options, given, model_file=None if raw is None else bytearray(raw))
        total = state.before + rounds if state.stage else 2 * rounds
        while state.rounds < rounds and not _stopped_early(state, patience):
            if self._stop.is_set():
                raise DeadlineError("Training was stopped before it ended; no model was stored.")
            booster.update(data, iteration=state.rounds)
            if not state.rounds:
                _check_runs_on(booster, self._device)
            state.rounds += 1
            if watched is not None:
                score = float(booster.eval_set([(watched, "s")], state.rounds).rpartition(":")[2])
                if state.best_score is None or score < state.best_score:
                    state.best_score, state.best_round = score, state.rounds
            self._report(state.before + state.rounds, total)
            if self._checkpoint is not None and self._checkpoint.due:
                self._checkpoint.save(state, bytes(booster.save_raw(raw_format="ubj")))
        if self._stop.is_set():
            raise DeadlineError("Training was stopped before it ended; no model was stored.")
        return booster

    def _matrix(
        self, rows: Rows, threads: int, reference: "xgboost.QuantileDMatrix | None" = None
    ) -> "xgboost.QuantileDMatrix":
        import xgboost

        table = self._table
        whole = len(rows) == len(table.targets)
        types = feature_types(table.schema)
        return xgboost.QuantileDMatrix(
            table.matrix if whole else table.matrix[rows],
            label=table.targets[rows],
            weight=None if table.weights is None else table.weights[rows],
            missing=np.nan,
            nthread=threads,
            max_bin=int(self._params["max_bin"]),
            ref=reference,
            feature_types=types,
            enable_categorical=types is not None,
        )


def _stopped_early(state: CheckpointState, patience: int | None) -> bool:
    return patience is not None and state.rounds - state.best_round >= patience and state.rounds > 0


def _check_runs_on(booster: "xgboost.Booster", device: str) -> None:
    """XGBoost trains on the CPU, with a warning, where it finds no GPU; here that is an error."""
    if device == "cpu":
        return
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if not used.startswith(device):
        raise NotConfiguredError(f"device {device!r}: XGBoost finds none on this machine, and would use {used!r}.")
