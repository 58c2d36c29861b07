"""`python -m benchmarks.anomaly [--series 40]`: false alarms, precision and recall of the anomaly detector.

Beside it two rules of thumb: three standard deviations from the mean, and a modified z-score over 3.5 (median and MAD).

Clean series of several laws; the same with planted anomalies; real series that ship with statsmodels (`bench` extra),
as they are and with planted anomalies.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from seedcore.ml.anomaly import detect, detect_columns

Floats = npt.NDArray[np.float64]
Make = Callable[[np.random.Generator, int], Floats]
SIZES = (100, 1_000)
FALSE_ALARM = 0.05


def ours(x: Floats) -> set[int]:
    return {a.index for a in detect(x, FALSE_ALARM).anomalies}


def three_sigma(x: Floats) -> set[int]:
    return set(np.flatnonzero(np.abs(x - x.mean()) > 3 * x.std()).tolist())


def mad_score(x: Floats) -> set[int]:
    middle = np.median(x)
    return set(np.flatnonzero(0.6745 * np.abs(x - middle) > 3.5 * np.median(np.abs(x - middle))).tolist())


RULES = {"ours": ours, "3 sigma": three_sigma, "MAD z": mad_score}


def ar(rho: float) -> Make:
    def make(rng: np.random.Generator, n: int) -> Floats:
        noise = rng.standard_normal(n + 100)
        for i in range(1, len(noise)):
            noise[i] += rho * noise[i - 1]
        return noise[100:] * np.sqrt(1 - rho**2)

    return make


def _with(shape: Callable[[Floats], Floats]) -> Make:
    return lambda rng, n: shape(np.arange(n, dtype=np.float64)) + rng.standard_normal(n)


def _shifted(t: Floats) -> Floats:
    return np.where(t < 0.6 * len(t), 0.0, 12.0)


CLEAN: dict[str, Make] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "t, 3 degrees of freedom": lambda rng, n: rng.standard_t(3, n),
    "log-normal": lambda rng, n: np.exp(rng.standard_normal(n)),
    "Poisson(2)": lambda rng, n: rng.poisson(2, n).astype(np.float64),
    "AR(1) 0.5": ar(0.5),
    "AR(1) 0.9": ar(0.9),
    "trend of 0.1 a point": _with(lambda t: 0.1 * t),
    "season of 24": _with(lambda t: 5 * np.sin(2 * np.pi * t / 24)),
    "season of 24 and trend": _with(lambda t: 5 * np.sin(2 * np.pi * t / 24) + 0.05 * t),
    "level shift of 12 sd": _with(_shifted),
}


def plant(x: Floats, rng: np.random.Generator, share: float, noise: float) -> tuple[Floats, set[int]]:
    """Spikes of 6 to 12 robust standard deviations of the noise, either way, at random places."""
    places = rng.choice(len(x), max(1, round(share * len(x))), replace=False)
    planted = x.copy()
    planted[places] += rng.choice([-1.0, 1.0], len(places)) * rng.uniform(6, 12, len(places)) * noise
    return planted, set(places.tolist())


def noise_of(make: Make) -> float:
    """The robust standard deviation of the noise itself: of a long series without what can be told beforehand."""
    x = make(np.random.default_rng(99), 5_000)
    if make in SHAPED:
        return 1.0
    return float(1.4826 * np.median(np.abs(x - np.median(x))))


SHAPED = [make for name, make in CLEAN.items() if name.startswith(("trend", "season", "level"))]


def clean_table(series: int) -> Iterator[list[str]]:
    for name, make in CLEAN.items():
        row = [name]
        for n in SIZES:
            drawn = [make(np.random.default_rng((n, k)), n) for k in range(series)]
            row += [f"{100 * np.mean([bool(rule(x)) for x in drawn]):.0f} %" for rule in RULES.values()]
        yield row


def planted_table(series: int, n: int, share: float) -> Iterator[list[str]]:
    for name, make in CLEAN.items():
        noise, row = noise_of(make), [name]
        drawn = []
        for k in range(series):
            rng = np.random.default_rng((n, k, 7))
            drawn.append(plant(make(rng, n), rng, share, noise))
        yield row + [_accuracy([(rule(x), places) for x, places in drawn]) for rule in RULES.values()]


def _accuracy(found: list[tuple[set[int], set[int]]]) -> str:
    hits = sum(len(said & true) for said, true in found)
    said, true = sum(len(s) for s, _ in found), sum(len(t) for _, t in found)
    return f"{hits / said if said else 1:.2f} / {hits / true:.2f}"


def real() -> dict[str, Floats]:
    from statsmodels import datasets as d

    co2 = d.co2.load_pandas().data["co2"].interpolate().to_numpy(dtype=float)
    return {
        "Nile, yearly": d.nile.load_pandas().data["volume"].to_numpy(dtype=float),
        "sunspots, yearly": d.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(dtype=float),
        "CO2 at Mauna Loa, weekly": co2,
        "El Niño, monthly": d.elnino.load_pandas().data.iloc[:, 1:].to_numpy(dtype=float).ravel(),
        "US inflation, quarterly": d.macrodata.load_pandas().data["infl"].to_numpy(dtype=float),
    }


def real_table(series: int) -> Iterator[list[str]]:
    for name, x in real().items():
        steps = np.diff(x)
        noise = float(1.4826 * np.median(np.abs(steps - np.median(steps))))
        found = detect(x, FALSE_ALARM)
        drawn = [plant(x, np.random.default_rng(k), 0.01, noise) for k in range(max(2, series // 4))]
        row = [f"{name} ({len(x):,})", str(found.season or "none")]
        for rule in RULES.values():
            before = rule(x)
            # What a rule says of the series as it is may be true: it counts neither way.
            hits = [(rule(planted) - before, places - before) for planted, places in drawn]
            row += [str(len(before)), _accuracy(hits)]
        yield row


JOINT: dict[str, tuple[int, float]] = {
    "normal, independent": (0, 0.0),
    "normal, correlation 0.8": (0, 0.8),
    "t (3), correlation 0.5": (3, 0.5),
}
"""Degrees of freedom of t (0: normal), and the correlation of every two columns."""


def together(rng: np.random.Generator, n: int, columns: int, law: str) -> dict[str, Floats]:
    freedom, rho = JOINT[law]
    mix = np.linalg.cholesky(np.full((columns, columns), rho) + np.eye(columns) * (1 - rho))
    x = rng.standard_normal((n, columns)) @ mix.T
    if freedom:
        x /= np.sqrt(rng.chisquare(freedom, n) / freedom)[:, None]
    return {f"c{k}": x[:, k] for k in range(columns)}


def joint_table(series: int) -> Iterator[list[str]]:
    """False alarms; and how often a point is found at which two columns go 4 deviations apart: by all columns together,
    and by one after the other with the chance of a false alarm divided among them."""
    for law in JOINT:
        for columns in (2, 5, 10):
            row = [law, str(columns)]
            for n in SIZES:
                drawn = [together(np.random.default_rng((n, columns, k)), n, columns, law) for k in range(series)]
                row.append(f"{100 * np.mean([bool(detect_columns(c, FALSE_ALARM).anomalies) for c in drawn]):.0f} %")
            found = np.zeros(2)
            for k in range(series):
                planted = together(np.random.default_rng((300, columns, k, 7)), 300, columns, law)
                planted["c0"][150] += 4
                planted["c1"][150] -= 4
                found[0] += 150 in [a.index for a in detect_columns(planted, FALSE_ALARM).anomalies]
                alone = [detect(values, FALSE_ALARM / columns).anomalies for values in planted.values()]
                found[1] += 150 in [a.index for anomalies in alone for a in anomalies]
            yield row + [f"{share:.2f}" for share in found / series]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anomaly", description=__doc__)
    parser.add_argument("--series", type=int, default=40)
    given = parser.parse_args()
    console = Console(width=150)
    heads = ["clean series", *(f"{rule}, {n:,}" for n in SIZES for rule in RULES)]
    _show(console, f"Series with a false alarm ({FALSE_ALARM:.0%} allowed)", heads, clean_table(given.series))
    for n, share in ((300, 0.01), (300, 0.05), (60, 0.02)):
        title = f"Precision / recall, {n} points, {share:.0%} planted"
        _show(console, title, ["noise", *RULES], planted_table(given.series, n, share))
    heads = ["series", "season", *(h for rule in RULES for h in (f"{rule}: as it is", "planted"))]
    _show(console, "Real series: points named, and precision / recall of planted ones", heads, real_table(given.series))
    heads = ["columns of", "columns", *(f"false alarm, {n:,}" for n in SIZES), "found together", "one by one"]
    _show(console, "Several columns", heads, joint_table(given.series))
    heads = ["points", "seconds"]
    _show(console, "Time", heads, ([f"{n:,}", f"{_seconds(n):.3f}"] for n in (100, 1_000, 20_000)))
    return 0


def _seconds(n: int) -> float:
    x = CLEAN["season of 24"](np.random.default_rng(0), n)
    began = time.process_time()
    detect(x)
    return time.process_time() - began


def _show(console: Console, title: str, heads: list[str], rows: Iterator[list[str]]) -> None:
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
