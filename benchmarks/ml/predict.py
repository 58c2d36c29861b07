"""Predictions in process beside bare XGBoost: both get the same rows as Python values, and make a new matrix each time.

`matrix`: the checks of values left out; `rows`: lists in the order of the columns; `records`: one dict a row. Ours
finds the version, checks and encodes the rows, predicts, and gives label and probabilities for each; the bare one is
`numpy.array` and `inplace_predict`. Times are of the processor: all of it runs in one thread.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ml.models import COLUMNS, bare_booster, trained_store
from seedcore.ml.predicting.predictor import Predictor
from seedcore.ml.registry.aliases import AliasCache
from seedcore.settings import load_settings
from seedcore.stores.postgres import Database

KINDS = ("matrix", "rows", "records")
SIZES = {1: 400, 32: 200, 1024: 20}
"""Calls in one turn, by rows."""


def turns(works: dict[str, Callable[[], object]], calls: int, rounds: int) -> dict[str, float]:
    """Median over rounds of the processor seconds that a call takes, the works in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.process_time()
            for _ in range(calls):
                work()
            seconds[name].append((time.process_time() - began) / calls)
    return {name: statistics.median(times) for name, times in seconds.items()}


def measure(rounds: int = 15) -> list[dict[str, Any]]:
    """One entry a number of rows: microseconds a call, and ratios to the bare one."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        store, rows = trained_store(Path(folder) / "models")
        aliases = AliasCache(
            Database(load_settings(data_dir=Path(folder) / "data", pg_dsn="postgresql://u@127.0.0.1:1/x"))
        )
        predictor = Predictor(store, aliases, 1 << 28)
        predictor.model("m", 1)
        bare = bare_booster(store)
        for size, calls in SIZES.items():
            lists = [rows[i % len(rows)] for i in range(size)]
            records = [dict(zip(COLUMNS, row, strict=True)) for row in lists]

            def ours(given: Any) -> object:
                model = predictor.ready("m", alias="latest")
                assert model is not None
                return model.answer(model.encode(given).matrix)

            def from_matrix(given: Any) -> object:
                model = predictor.ready("m", alias="latest")
                assert model is not None
                return model.answer(np.array(given, dtype=np.float32))

            works: dict[str, Callable[[], object]] = {
                "bare": lambda lists=lists: bare.inplace_predict(np.array(lists, dtype=np.float32)),  # type: ignore[misc]
                "matrix": lambda lists=lists: from_matrix(lists),  # type: ignore[misc]
                "rows": lambda lists=lists: ours(lists),  # type: ignore[misc]
                "records": lambda records=records: ours(records),  # type: ignore[misc]
            }
            turns(works, max(1, calls // 10), 1)
            times = turns(works, calls, rounds)
            found.append(
                {"rows": size}
                | {f"{name}_us": round(seconds * 1e6, 1) for name, seconds in times.items()}
                | {f"{name}_ratio": round(times[name] / times["bare"], 2) for name in KINDS}
            )
    return found


def report(console: Console, found: list[dict[str, Any]]) -> None:
    """As a table."""
    table = Table("rows", *(f"{name} (µs)" for name in ("bare", *KINDS)), *(f"{name} / bare" for name in KINDS))
    keys = ["rows", "bare_us", *(f"{name}_us" for name in KINDS), *(f"{name}_ratio" for name in KINDS)]
    for one in found:
        table.add_row(*(str(one[key]) for key in keys))
    console.print(table)
