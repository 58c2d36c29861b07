"""`python -m benchmarks.ml.scaling_ahead [--days 3]`: the organism's autoscaler with and without the forecast.

A simulation in steps of a second with the product's own `next_scale` and `forecast`. Tasks arrive by a daily pattern
(Poisson), and each takes TASK_S; a host runs SLOTS at once and needs a while to start. Forecasts
are made every READ_S from four weeks of history in steps of five minutes. Waits are those of the tasks of the days
after the history; host hours are all that are paid for, starting ones too.
"""

import argparse
from collections import deque

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from seedcore.ml.scaling.forecast import forecast
from seedcore.organism.control.autoscaler import Scale, next_scale

Floats = npt.NDArray[np.float64]
DAY, STEP_S, READ_S, SLOTS, TASK_S, MAX_HOSTS = 86_400, 300, 900, 4, 2.0, 20
HISTORY = 28
AHEAD_S = (0, 600)
LEVEL = 0.8


RISE_S = {"a rise over half an hour": 300.0, "a rise within a minute": 10.0}


def rate(second: npt.NDArray[np.int_], rise_s: float) -> Floats:
    """Tasks a second: calm nights, a rise at eight (its middle fifth in so many seconds), an end of work at six."""
    day = second % DAY
    found: Floats = 1.0 + 20.0 / (1 + np.exp(np.clip((8 * 3600 - day) / rise_s, -50, 50))) / (
        1 + np.exp((day - 18 * 3600) / 1200)
    )
    return found


def bounds(arrivals: Floats, history: Floats, ahead_s: int) -> list[Floats]:
    """The upper bounds, in tasks a step, that are read at each READ_S; what came until then is known."""
    read, steps = [], (READ_S + ahead_s) // STEP_S
    for t in range(0, len(arrivals), READ_S):
        came = arrivals[:t].reshape(-1, STEP_S).sum(axis=1)
        known = np.concatenate([history, came])[-HISTORY * DAY // STEP_S :]
        read.append(forecast(known, steps, LEVEL, STEP_S).high)
    return read


def simulate(arrivals: Floats, highs: list[Floats], start_s: int, ahead_s: int) -> tuple[Floats, float]:
    """(waits in seconds, host hours) of the arrivals of each second; `ahead_s` 0: by measured load alone."""
    scale, ready, starting = Scale(1), 1, deque[int]()
    queue: deque[int] = deque()
    running: deque[tuple[int, int]] = deque()
    in_hand, foreseen, paid = 0, 0.0, 0
    waits: list[int] = []
    for t, new in enumerate(arrivals.astype(int).tolist()):
        if ahead_s and t % STEP_S == 0:
            first = t % READ_S // STEP_S
            foreseen = float(highs[t // READ_S][first : first + ahead_s // STEP_S + 1].max()) / STEP_S * TASK_S
        while running and running[0][0] <= t:
            in_hand -= running.popleft()[1]
        queue.extend([t] * new)
        free = ready * SLOTS - in_hand
        begun = min(max(free, 0), len(queue))
        waits.extend(t - queue.popleft() for _ in range(begun))
        if begun:
            running.append((t + round(TASK_S), begun))
            in_hand += begun
        load = in_hand + len(queue)
        scale = next_scale(scale, load, SLOTS, 1.0, min_hosts=1, max_hosts=MAX_HOSTS, foreseen=foreseen)
        while starting and starting[0] <= t:
            starting.popleft()
            ready += 1
        while ready + len(starting) < scale.hosts:
            starting.append(t + start_s)
        while ready + len(starting) > scale.hosts:
            if starting:
                starting.pop()
            else:
                ready -= 1
        paid += ready + len(starting)
    return np.array(waits), paid / 3600


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ml.scaling_ahead", description=__doc__)
    parser.add_argument("--days", type=int, default=3)
    given = parser.parse_args()
    heads = ["daily pattern", "a host starts in", "ahead", "p95", "p95 from 8 to 9", "longest", "host hours"]
    title = f"{given.days} days, {HISTORY} days of history: seconds that tasks wait"
    table = Table(*heads, title=title, title_justify="left")
    for pattern, rise_s in RISE_S.items():
        rng = np.random.default_rng(0)
        past = rng.poisson(rate(np.arange(HISTORY * DAY), rise_s)).reshape(-1, STEP_S).sum(axis=1).astype(np.float64)
        arrivals = rng.poisson(rate(np.arange(given.days * DAY), rise_s)).astype(np.float64)
        came = np.repeat(np.arange(len(arrivals)), arrivals.astype(int))
        highs = bounds(arrivals, past, AHEAD_S[-1])
        for start_s in (10, 60, 180):
            for ahead_s in AHEAD_S:
                waits, hours = simulate(arrivals, highs, start_s, ahead_s)
                morning = waits[came[: len(waits)] % DAY // 3600 == 8]
                marks = [f"{x:.1f}" for x in (np.quantile(waits, 0.95), np.quantile(morning, 0.95), waits.max())]
                table.add_row(pattern, f"{start_s} s", f"{ahead_s} s" if ahead_s else "off", *marks, f"{hours:.1f}")
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
