"""Delays at the same achieved ARL₀."""

from collections.abc import Callable

from benchmarks.valve import peers
from benchmarks.valve.arl0 import achieved
from benchmarks.valve.streams import STREAMS

SHIFTS = (0.25, 0.5, 1.0, 2.0)


def table(references: int, arl0: float, n: int) -> tuple[float, list[list[str]]]:
    """The valve's achieved ARL₀, and a row a detector: mean delays by shift."""
    from river import drift

    arl, _, _ = achieved(STREAMS["N(0,1)"], n, arl0, references, 20_000)
    found: dict[str, Callable[[float], float]] = {
        f"the valve, reference of {n:,}": lambda shift: peers.valve_delay(n, arl0, shift)
    }
    for name, paths in {
        "CUSUM k = 0.5, mean known": peers.cusum(0.5),
        "CUSUM k = 0.25, mean known": peers.cusum(0.25),
        "EWMA 0.1, mean known": peers.ewma(0.1),
    }.items():
        level = peers.threshold_of(paths, arl)
        found[name] = lambda shift, paths=paths, level=level: peers.delay_of(paths, level, shift)  # type: ignore[misc]
    adwin = peers.river_tuned(lambda at: drift.ADWIN(delta=1.0 / at, clock=1), 1.2, 2_000.0, arl)
    hinkley = peers.river_tuned(
        lambda at: drift.PageHinkley(min_instances=1, delta=0.25, threshold=at, alpha=1.0), 5.0, 60.0, arl
    )
    found["river ADWIN, clock 1"] = lambda shift: peers.river_delay(adwin, shift)
    found["river Page-Hinkley, tuned"] = lambda shift: peers.river_delay(hinkley, shift)
    return arl, [[name, *(f"{delay(shift):.1f}" for shift in SHIFTS)] for name, delay in found.items()]
