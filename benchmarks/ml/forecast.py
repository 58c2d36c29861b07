"""`python -m benchmarks.ml.forecast [--runs 20]`: coverage of forecast intervals on ten shapes of traffic, and what
scaling ahead brings on a daily pattern.

Counts of 15 minutes, four weeks of history, forecasts of the next six hours from six moments of the fifth week. Beside
it the last value and the value of a day before, both with intervals of the quantiles of their own errors. The interval
score (Gneiting and Raftery 2007) is width plus what misses cost: lower is better.
"""

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from seedcore.ml.scaling.forecast import forecast

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator
DAY, STEP_S, AHEAD, HISTORY = 96, 900, 24, 28 * 96
LENGTH = HISTORY + 7 * DAY
LEVELS = (0.8, 0.95)


def _t() -> Floats:
    return np.arange(LENGTH, dtype=np.float64)


def _daily(t: Floats) -> Floats:
    return 1 + 0.8 * np.sin(2 * np.pi * t / DAY)


def _weekly(t: Floats) -> Floats:
    return np.where((t // DAY) % 7 < 5, 1.0, 0.4)


def _poisson(rate: Floats, rng: Rng) -> Floats:
    return rng.poisson(rate).astype(np.float64)


def _bursts(rng: Rng) -> Floats:
    extra = np.where(rng.random(LENGTH) < 0.02, rng.exponential(200, LENGTH), 0.0)
    return _poisson(20 + extra, rng)


def _steps(rng: Rng) -> Floats:
    changes = rng.random(LENGTH) < 1 / (2 * DAY)
    levels = np.exp(rng.normal(3.5, 0.7, LENGTH))
    return _poisson(levels[np.maximum.accumulate(np.where(changes, np.arange(LENGTH), 0))], rng)


def _zeros(rng: Rng) -> Floats:
    return np.where(rng.random(LENGTH) < 0.7, 0.0, 1 + rng.negative_binomial(2, 0.1, LENGTH))


def _overdispersed(rng: Rng) -> Floats:
    return _poisson(rng.gamma(2.0, 15 * _daily(_t())), rng)


def _switching(rng: Rng) -> Floats:
    on, state, left = np.empty(LENGTH), bool(rng.random() < 0.5), 0
    for k in range(LENGTH):
        if left == 0:
            state, left = not state, 1 + int(rng.exponential(DAY / 2))
        on[k], left = state, left - 1
    return _poisson(40 * on, rng)


SHAPES: dict[str, Callable[[Rng], Floats]] = {
    "constant": lambda rng: _poisson(np.full(LENGTH, 30.0), rng),
    "trend": lambda rng: _poisson(10 + 60 * _t() / LENGTH, rng),
    "daily": lambda rng: _poisson(30 * _daily(_t()), rng),
    "daily and weekly": lambda rng: _poisson(40 * _daily(_t()) * _weekly(_t()), rng),
    "bursts": _bursts,
    "steps": _steps,
    "mostly zeros": _zeros,
    "overdispersed": _overdispersed,
    "growing season": lambda rng: _poisson((10 + 50 * _t() / LENGTH) * _daily(_t()), rng),
    "switched off and on": _switching,
}

Ends = tuple[Floats, Floats]


def ours(past: Floats, level: float) -> Ends:
    found = forecast(past, AHEAD, level, STEP_S)
    return found.low, found.high


def _repeated(past: Floats, level: float, period: int) -> Ends:
    """The value of so many steps before the last known one (0: that one), with the quantiles of its errors."""
    low, high, n = np.empty(AHEAD), np.empty(AHEAD), len(past)
    for k in range(AHEAD):
        lag = k + 1 if period == 0 else period
        errors = past[lag:] - past[:-lag]
        guess = past[n + k - lag]
        low[k], high[k] = guess + np.quantile(errors, [(1 - level) / 2, 1 - (1 - level) / 2])
    return np.maximum(low, 0), np.maximum(high, 0)


METHODS: dict[str, Callable[[Floats, float], Ends]] = {
    "ours": ours,
    "last value": lambda past, level: _repeated(past, level, 0),
    "a day before": lambda past, level: _repeated(past, level, DAY),
}


def judge(shape: str, runs: int, level: float) -> dict[str, tuple[float, float]]:
    """(coverage, mean interval score) of each method."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in METHODS}
    for run in range(runs):
        rng = np.random.default_rng([run, sorted(SHAPES).index(shape)])
        counts = SHAPES[shape](rng)
        for origin in rng.integers(HISTORY, LENGTH - AHEAD, 6):
            actual = counts[origin : origin + AHEAD]
            for name, method in METHODS.items():
                low, high = method(counts[origin - HISTORY : origin], level)
                missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
                found[name][0].extend((missed == 0).tolist())
                found[name][1].extend((high - low + 2 / (1 - level) * missed).tolist())
    return {name: (float(np.mean(held)), float(np.mean(score))) for name, (held, score) in found.items()}


def coverage_table(console: Console, runs: int, level: float, shapes: list[str]) -> None:
    heads = ["shape", *(h for name in METHODS for h in (f"{name}: coverage", "score"))]
    table = Table(*heads, title=f"Intervals of {level:.0%}, {runs} runs", title_justify="left")
    for shape in shapes:
        judged = judge(shape, runs, level)
        cells = [cell for held, score in judged.values() for cell in (f"{held:.1%}", f"{score:.1f}")]
        table.add_row(shape, *cells)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ml.forecast", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--shape", choices=sorted(SHAPES), action="append")
    given = parser.parse_args()
    console = Console(width=150)
    for level in LEVELS:
        coverage_table(console, given.runs, level, given.shape or list(SHAPES))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
