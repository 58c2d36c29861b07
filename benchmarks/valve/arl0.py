"""Achieved ARL₀: observations by false alarm over many references, each with a stream of its own."""

import numpy as np

from benchmarks.valve.streams import STREAMS, Stream
from seedcore.changepoint import Valve

SIZES = (500, 1_000, 2_000)


def achieved(stream: Stream, n: int, arl0: float, references: int, length: int) -> tuple[float, float, int]:
    """Observations by alarm, its relative standard error over references, and alarms."""
    alarms = np.zeros(references)
    for k in range(references):
        rows = stream(np.random.default_rng([k, n]), n + length)
        valve = Valve.calibrate(rows[:n], arl0=arl0, seed=k, rehearsal=False)
        alarms[k] = valve.update(rows[n:]).sum()
    total = int(alarms.sum())
    error = float(alarms.std() / np.sqrt(references) / max(alarms.mean(), 1e-9))
    return references * length / max(total, 1), error, total


def table(references: int, arl0: float) -> list[list[str]]:
    """A row a stream."""
    rows = []
    for name, stream in STREAMS.items():
        cells = [name]
        for n in SIZES:
            arl, error, _ = achieved(stream, n, arl0, references, 20_000)
            cells.append(f"{arl:,.0f} ± {100 * error:.0f} %")
        rows.append(cells)
    return rows
