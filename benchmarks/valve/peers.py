"""Other detectors at a given ARL₀ on N(0,1), and how long each takes to see a shift. River's need the `bench` extra."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.valve.streams import Floats
from seedcore.changepoint import Valve

CLEAN = 500
LONGEST = 1_500
Paths = Callable[[Iterator[Floats]], Iterator[Floats]]


def cusum(k: float) -> Paths:
    """Two-sided CUSUM; it knows the mean and the standard deviation."""

    def run(columns: Iterator[Floats]) -> Iterator[Floats]:
        up = down = 0.0
        for x in columns:
            up, down = np.maximum(up + x - k, 0.0), np.maximum(down - x - k, 0.0)
            yield np.maximum(up, down)

    return run


def ewma(share: float) -> Paths:
    """Two-sided EWMA in its asymptotic standard deviations."""

    def run(columns: Iterator[Floats]) -> Iterator[Floats]:
        mean = 0.0
        for x in columns:
            mean = (1.0 - share) * mean + share * x
            yield np.abs(mean) / np.sqrt(share / (2.0 - share))

    return run


def threshold_of(paths: Paths, arl0: float, *, streams: int = 2_000, steps: int = 4_000) -> float:
    """The level that one in exp(-steps/ARL₀) streams stays below."""
    rng = np.random.default_rng(1)
    highest = np.zeros(streams)
    for level in paths(rng.standard_normal(streams) for _ in range(steps)):
        np.maximum(highest, level, out=highest)
    return float(np.quantile(highest, np.exp(-steps / arl0)))


def delay_of(paths: Paths, level: float, shift: float, *, streams: int = 2_000) -> float:
    """Mean observations to the alarm after a shift, given none before."""
    rng = np.random.default_rng(2)
    alarmed = np.zeros(streams, dtype=int)
    columns = (rng.standard_normal(streams) + (shift if t >= CLEAN else 0.0) for t in range(CLEAN + LONGEST))
    for t, value in enumerate(paths(columns)):
        alarmed = np.where((alarmed == 0) & (value >= level), t + 1, alarmed)
    seen = alarmed > CLEAN
    return float(alarmed[seen].mean() - CLEAN)


def river_arl0(make: Callable[[], Any], observations: int = 1_000_000) -> float:
    """Observations by alarm of a river detector."""
    alarms, detector = 0, make()
    for x in np.random.default_rng(3).standard_normal(observations).tolist():
        detector.update(x)
        if detector.drift_detected:
            alarms, detector = alarms + 1, make()
    return observations / max(alarms, 1)


def river_tuned(make: Callable[[float], Any], low: float, high: float, arl0: float) -> Callable[[], Any]:
    """`make` with the parameter that gives `arl0`; a larger parameter must mean fewer alarms."""
    for _ in range(12):
        middle = float(np.sqrt(low * high))
        if river_arl0(lambda at=middle: make(at)) < arl0:  # type: ignore[misc]
            low = middle
        else:
            high = middle
    return lambda: make(high)


def river_delay(make: Callable[[], Any], shift: float, runs: int = 600) -> float:
    """Mean observations to the alarm after a shift, given none before."""
    rng = np.random.default_rng(4)
    delays = []
    for _ in range(runs):
        x = rng.standard_normal(CLEAN + LONGEST)
        x[CLEAN:] += shift
        detector = make()
        for t, value in enumerate(x.tolist()):
            detector.update(value)
            if detector.drift_detected:
                delays.append(t + 1 - CLEAN)
                break
    return float(np.mean([delay for delay in delays if delay > 0]))


def valve_delay(n: int, arl0: float, shift: float, runs: int = 400) -> float:
    """The same for the valve, each run with a reference of its own."""
    delays = []
    for k in range(runs):
        rng = np.random.default_rng([5, k, n])
        valve = Valve.calibrate(rng.standard_normal(n), arl0=arl0, seed=k, rehearsal=False)
        x = rng.standard_normal(CLEAN + LONGEST)
        x[CLEAN:] += shift
        if valve.update(x[:CLEAN]).any():
            continue
        alarms = valve.update(x[CLEAN:])
        if alarms.any():
            delays.append(int(alarms.argmax()) + 1)
    return float(np.mean(delays))
