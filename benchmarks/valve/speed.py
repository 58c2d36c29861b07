"""Processor time an observation and a calibration take."""

import time

import numpy as np

from seedcore.changepoint import Valve
from seedcore.changepoint.features import outcome_features, task_features

BATCH, BATCHES, ROUNDS = 100, 200, 7


def table() -> list[list[str]]:
    """A row a figure; the best of seven rounds."""
    rows = []
    for d in (1, 8, 32, 64):
        rng = np.random.default_rng(d)
        began = time.process_time()
        valve = Valve.calibrate(rng.standard_normal((1_000, d)))
        took = time.process_time() - began
        batches = rng.standard_normal((BATCHES, BATCH, d))
        best = min(_timed(lambda v=valve, b=batches: [v.update(batch) for batch in b]) for _ in range(ROUNDS))
        rows.append([f"valve, d = {d}", f"{1e6 * best / (BATCH * BATCHES):.2f} µs", f"calibration {took:.2f} s"])
    params = {"text": "The gateway at node seven did not answer: " * 5, **{f"n{k}": k * 1.5 for k in range(10)}}
    params["text"] = str(params["text"])[:200]
    best = min(_timed(lambda: [task_features("acme.check", params) for _ in range(BATCH)]) for _ in range(ROUNDS * 5))
    rows.append(["features, 200 characters and ten numbers", f"{1e6 * best / BATCH:.1f} µs", ""])
    best = min(_timed(lambda: [outcome_features(0.2, True, None) for _ in range(BATCH)]) for _ in range(ROUNDS * 5))
    rows.append(["features of an outcome", f"{1e6 * best / BATCH:.1f} µs", ""])
    return rows


def _timed(work: object) -> float:
    began = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - began
