"""The gate on simulated pairs: false promotions without a gain, and how often and how soon a gain is promoted.

    python -m benchmarks.ml.gate --runs 1000 --plot gate_power.svg

Champion and candidate answer the same tasks. How often their answers differ is what decides: independent models of
accuracy a and a + gain differ in a(1 - a - gain) + (1 - a)(a + gain) of tasks; those of the same data agree more. The
shipped test (a mixture of fixed bets) is compared with one bet that follows the data (predictable plug-in, aGRAPA of
Waudby-Smith and Ramdas 2024), and with a test of fixed size that is looked at after every outcome, which is wrong.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from seedcore.ml.gate.betting_mean import log_capital
from seedcore.ml.gate.gate_test import GateTerms

Floats = npt.NDArray[np.float64]
Strategy = Callable[[Floats], Floats]
"""From differences (runs, n) to the logarithm of evidence after each."""

VALUES = np.array([-1.0, 0.0, 1.0])
CHUNK = 50


def independent(accuracy: float, gain: float) -> float:
    """Share of tasks in which two independent models differ."""
    return accuracy * (1 - accuracy - gain) + (1 - accuracy) * (accuracy + gain)


def pairs(rng: np.random.Generator, runs: int, n: int, gain: float, differ: float) -> Floats:
    """Differences of losses: 1 where the candidate alone is right, -1 where the champion alone is."""
    u = rng.random((runs, n))
    return np.where(u < (differ + gain) / 2, 1.0, np.where(u < differ, -1.0, 0.0))


def mixture(values: Floats) -> Floats:
    """What ships."""
    counts = np.cumsum(values[..., None] == VALUES, axis=1).astype(float)
    return np.concatenate([log_capital(counts[i : i + CHUNK], VALUES, 0.0) for i in range(0, len(values), CHUNK)])


def plug_in(values: Floats) -> Floats:
    """One bet, mean over mean of squares of what was before (aGRAPA), with a start that counts as 10 pairs."""
    n = np.arange(1, values.shape[1] + 1)
    mean = np.cumsum(values, axis=1) / (n + 10)
    squares = (0.25 * 10 + np.cumsum(values**2, axis=1)) / (n + 10)
    bets = np.clip(np.roll(mean / squares, 1, axis=1), 0.0, 0.8)
    bets[:, 0] = 0.0
    return np.asarray(np.cumsum(np.log1p(bets * values), axis=1))


def repeated_z(values: Floats) -> Floats:
    """A z-test after every outcome, scaled so that 1.645 is log(1 / 0.05): what one must not do."""
    n = np.arange(1, values.shape[1] + 1)
    spread = np.sqrt(np.maximum(np.cumsum(values**2, axis=1) - np.cumsum(values, axis=1) ** 2 / n, 1e-9))
    return np.asarray(np.cumsum(values, axis=1) / spread / 1.6449 * math.log(20))


STRATEGIES: dict[str, Strategy] = {"mixture (ships)": mixture, "plug-in bet": plug_in, "repeated z-test": repeated_z}


def promoted_at(strategy: Strategy, values: Floats, terms: GateTerms) -> Floats:
    """After how many outcomes each run is promoted; infinite: it is not."""
    proven = strategy(values)[:, terms.min_outcomes - 1 :] >= math.log(1.0 / terms.alpha)
    return np.where(proven.any(axis=1), proven.argmax(axis=1) + float(terms.min_outcomes), np.inf)


def false_promotions(console: Console, runs: int, n: int, terms: GateTerms) -> None:
    """Pairs without a gain."""
    table = Table(title=f"{runs} A/A pairs, {n:,} outcomes each: share promoted (at most {terms.alpha:g})")
    for name in ("answers differ in", *STRATEGIES):
        table.add_column(name, justify="right")
    for differ in (0.05, 0.15, 0.30):
        values = pairs(np.random.default_rng(int(1_000 * differ)), runs, n, 0.0, differ)
        shares = [np.isfinite(promoted_at(strategy, values, terms)).mean() for strategy in STRATEGIES.values()]
        table.add_row(f"{differ:.0%}", *(f"{share:.1%}" for share in shares))
    console.print(table)


def gains(console: Console, runs: int, n: int, terms: GateTerms) -> None:
    """Five points, by the champion's accuracy and how alike both answer."""
    table = Table(title=f"A gain of 5 points, {runs} runs: promoted within {n:,} outcomes (median outcomes)")
    for name in ("champion", "answers", "differ in", "mixture (ships)", "plug-in bet"):
        table.add_column(name, justify="right")
    for accuracy in (0.80, 0.85, 0.90):
        for alike, part in (("independent", 1.0), ("correlated", 0.7), ("alike", 0.5)):
            differ = max(independent(accuracy, 0.05) * part, 0.055)
            values = pairs(np.random.default_rng(int(1_000 * differ)), runs, n, 0.05, differ)
            cells = []
            for strategy in (mixture, plug_in):
                at = promoted_at(strategy, values, terms)
                cells.append(f"{np.isfinite(at).mean():.1%} ({np.median(at):,.0f})")
            table.add_row(f"{accuracy:.2f}", alike, f"{differ:.1%}", *cells)
    console.print(table)


def power(runs: int, n: int, terms: GateTerms, effects: Sequence[float]) -> dict[float, Floats]:
    """{gain: share promoted after each number of outcomes}; a champion of 0.85, correlated answers."""
    curves = {}
    for gain in effects:
        differ = max(independent(0.85, gain) * 0.7, gain * 1.1)
        values = pairs(np.random.default_rng(int(10_000 * gain)), runs, n, gain, differ)
        at = promoted_at(mixture, values, terms)
        curves[gain] = np.array([(at <= k).mean() for k in range(1, n + 1)])
    return curves


def power_table(console: Console, curves: dict[float, Floats], sizes: Sequence[int]) -> None:
    """Share promoted by gain and outcomes."""
    table = Table(title="Share promoted, by gain and outcomes (champion 0.85, correlated answers)")
    table.add_column("gain", justify="right")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    for gain, curve in curves.items():
        table.add_row(f"{gain:.0%}", *(f"{curve[size - 1]:.0%}" for size in sizes))
    console.print(table)


def plot(path: Path, curves: dict[float, Floats]) -> None:
    """The same as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "gate"}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for style, (gain, curve) in zip(("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 3))), curves.items(), strict=False):
            axes.plot(range(1, len(curve) + 1), curve, color="#202020", linestyle=style, label=f"gain {gain:.0%}")
        axes.axhline(0.9, color="#9a9a9a", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("outcomes")
        axes.set_ylabel("share of runs that were promoted")
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> int:
    """Print the tables, and draw the curve where `--plot` says where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ml.gate", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--outcomes", type=int, default=2_000)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    console, terms = Console(width=130), GateTerms()
    false_promotions(console, given.runs, given.outcomes, terms)
    gains(console, given.runs, given.outcomes, terms)
    longest = max(given.outcomes, 5_000)
    curves = power(min(given.runs, 400), longest, terms, (0.0, 0.01, 0.02, 0.03, 0.05, 0.10))
    power_table(console, curves, [size for size in (200, 500, 1_000, 2_000, 5_000) if size <= longest])
    if given.plot is not None:
        plot(given.plot, curves)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
