"""`python -m benchmarks.ml.tuning`: wall and processor time to the same score, ASHA against no pruning.

Both search the preset `default` with the same seeds, trials and rounds, on a Ray of their own with two CPUs. The score
to reach is the worse of the two best scores that they end with, so that both reach it. Processor time is that of all of
Ray's processes. Both clocks start with the first trial.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from seedcore.ml.tuning.trial_record import best_of
from seedcore.ml.tuning.tune_terms import plan_of, read_terms
from seedcore.schemas.ml.tuning import TuneRequest

SETS = ("breast_cancer", "diabetes")
Point = tuple[float, float, float]
"""(wall seconds, processor seconds, the best score so far)."""


class ProcessorClock:
    """Processor time of this process's descendants since it was made; those that ended count with what was seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}
        self._before = self._total()

    def _total(self) -> float:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
        return sum(self._seen.values())

    def seconds(self) -> float:
        return self._total() - self._before


async def search(name: str, seed: int, prune: bool, trials: int, rounds: int) -> list[Point]:
    """Runs one search; the best score whenever it rose. The clock starts with the first trial."""
    from seedcore.ml.tuning.ray_trials import ray_search

    request = TuneRequest(
        name="bench",
        data_source=f"bundled:{name}",
        label_column="target",
        trials=trials,
        rounds=rounds,
        seed=seed,
        prune=prune,
        time_limit_s=3600,
    )
    points: list[Point] = []
    known = {}
    with tempfile.TemporaryDirectory() as folder:
        async with ray_search(request, f"bench{seed}", "default", Path(folder) / "job" / "tune") as runner:
            task = await runner.load()
            plan = plan_of(request, read_terms(request), task, (), 0.9)
            began: tuple[float, ProcessorClock] | None = None
            async for news in runner.search(plan, 0.2):
                if news.trials and began is None:
                    began = time.perf_counter(), ProcessorClock()
                known |= {trial.trial: trial for trial in news.trials}
                best = best_of(known.values(), plan.metric)
                if began is not None and best is not None and (not points or points[-1][2] != best.score):
                    points.append((time.perf_counter() - began[0], began[1].seconds(), best.score))
                await asyncio.sleep(0.05)
    return points


def reached(points: list[Point], score: float) -> Point:
    return next(point for point in points if point[2] <= score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=600)
    given = parser.parse_args()
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    print(f"{'set':15}{'seed':>5}{'score':>9}{'none: wall, cpu':>20}{'ASHA: wall, cpu':>20}{'ratio':>14}")
    for name in SETS:
        ratios: list[tuple[float, float]] = []
        for seed in range(given.seeds):
            runs = {}
            # In turns, the other one first each time: what else the machine does hits both.
            for prune in (False, True) if seed % 2 else (True, False):
                runs[prune] = asyncio.run(search(name, seed, prune, given.trials, given.rounds))
            score = max(runs[True][-1][2], runs[False][-1][2])
            none, asha = reached(runs[False], score), reached(runs[True], score)
            ratios.append((asha[0] / none[0], asha[1] / none[1]))
            print(
                f"{name:15}{seed:5}{score:9.4f}{none[0]:12.1f}{none[1]:8.1f}{asha[0]:12.1f}{asha[1]:8.1f}"
                f"{ratios[-1][0]:8.2f}{ratios[-1][1]:6.2f}",
                flush=True,
            )
        wall, cpu = (statistics.geometric_mean(column) for column in zip(*ratios, strict=True))
        print(f"{name:15} ASHA needs {wall:.2f} of the wall time and {cpu:.2f} of the processor time (geometric mean)")
    ray.shutdown()


if __name__ == "__main__":
    main()
