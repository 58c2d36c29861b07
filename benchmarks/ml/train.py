"""Training beside bare XGBoost: both fit twice, on four fifths of the rows and on all of them, with the same threads.

Ours also measures the held-out rows with their intervals, learns importance and keeps reference rows.
"""

import statistics
import threading
import time
from typing import Any

import numpy as np
import xgboost
from rich.console import Console
from rich.table import Table as Drawn

from seedcore.ml.data.training_data import read_local
from seedcore.ml.training.fitting import threads_for
from seedcore.ml.training.train import train
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml.models import TrainRequest
from seedcore.settings import load_settings

SHAPES = ((569, 30), (20_000, 20))
ROUNDS = 100


def measure(rounds: int = 5) -> list[dict[str, Any]]:
    """One entry a shape: seconds of each, and their ratio."""
    found = []
    for n, d in SHAPES:
        rng = np.random.default_rng(0)
        matrix = rng.normal(size=(n, d)).astype(np.float32)
        targets = (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] + rng.normal(size=n) > 0).astype(np.float32)
        columns = [f"c{i}" for i in range(d)]
        rows = [[*row, int(label)] for row, label in zip(matrix.tolist(), targets, strict=True)]
        request = TrainRequest(name="m", columns=[*columns, "y"], rows=rows, label_column="y")
        table = read_local(request, load_settings()).table
        params = resolve_params({"num_boost_round": ROUNDS})
        held = n // 5
        seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(rounds):
            began = time.perf_counter()
            train(table, params, threading.Event())
            seconds["ours"].append(time.perf_counter() - began)
            began = time.perf_counter()
            _bare(matrix[held:], targets[held:], params)
            _bare(matrix, targets, params)
            seconds["bare"].append(time.perf_counter() - began)
        ours, bare = statistics.median(seconds["ours"]), statistics.median(seconds["bare"])
        found.append(
            {
                "rows": n,
                "columns": d,
                "ours_s": round(ours, 4),
                "bare_s": round(bare, 4),
                "ratio": round(ours / bare, 2),
            }
        )
    return found


def _bare(matrix: Any, targets: Any, params: dict[str, float | int]) -> None:
    options: dict[str, Any] = {k: v for k, v in params.items() if k != "num_boost_round"}
    threads = threads_for(len(targets))
    options |= {"objective": "binary:logistic", "tree_method": "hist", "nthread": threads, "verbosity": 0}
    xgboost.train(options, xgboost.DMatrix(matrix, label=targets, nthread=threads), int(params["num_boost_round"]))


def report(console: Console, found: list[dict[str, Any]]) -> None:
    """As a table."""
    table = Drawn("rows", "columns", "ours (s)", "bare (s)", "ratio")
    for one in found:
        table.add_row(*(str(one[key]) for key in ("rows", "columns", "ours_s", "bare_s", "ratio")))
    console.print(table)
