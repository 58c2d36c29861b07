"""`python -m benchmarks.cognitive [planner] [model] [injection]`: how fast and how well Cognitive plans.

`planner`: generated problems (see `planner_suite`), each solved and compared with the cheapest plan by integer
programming. `model`: the share of valid plans of the embedded small model, before and after the round that corrects
them, and the time to its first token through ML's facade. `injection`: that model reads twenty-two texts that try to
make a plan do more than it may; the target is that none gets through. Exit status 0: every target is met.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time

from rich.console import Console

from benchmarks.cognitive.model_injection import measure as measure_injection
from benchmarks.cognitive.model_plans import measure as measure_model
from benchmarks.cognitive.planner_suite import STEPS, cost_bounds, generate
from seedcore.cognitive.engines.offline.cheapest_actions import SearchBounds
from seedcore.cognitive.engines.offline.planner import find_plan
from seedcore.errors import SeedCoreError

P99_MS = 50.0


def planner(console: Console, problems: int, checked: int) -> bool:
    times, busy, steps, solved, optimal = [], [], [], 0, 0
    for seed in range(problems):
        problem = generate(seed)
        begun, at = time.perf_counter(), time.process_time()
        try:
            plan = find_plan(problem.goal, problem.inputs, problem.skills, SearchBounds(STEPS + 4))
        except SeedCoreError:
            continue
        finally:
            times.append((time.perf_counter() - begun) * 1000)
            busy.append((time.process_time() - at) * 1000)
        solved += 1
        steps.append(len(plan.steps))
        if seed < checked:
            low, high = cost_bounds(problem, STEPS + 4)
            optimal += low - 1e-6 <= plan.cost <= high + 1e-6
    p99, cpu = (statistics.quantiles(found, n=100)[98] for found in (times, busy))
    console.print(
        f"planner: {solved} of {problems} solved, {optimal} of {checked} compared are optimal, "
        f"{statistics.mean(steps):.1f} steps; p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms "
        f"(at most {P99_MS:g}), "
        f"{cpu:.1f} ms of processor time"
    )
    return solved == problems and optimal == checked and p99 <= P99_MS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cognitive", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["planner", "model", "injection"], default=["planner"])
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--checked", type=int, default=100, help="how many are compared with integer programming")
    parser.add_argument("--goals", type=int, default=20, help="of the model")
    parser.add_argument("--ways", type=int, default=22, help="how many texts of injection are read")
    given = parser.parse_args()
    console, met = Console(width=140), True
    if "planner" in given.parts:
        met &= planner(console, given.problems, min(given.checked, given.problems))
    if "model" in given.parts:
        with tempfile.TemporaryDirectory(prefix="seedcore-bench-") as folder:
            asyncio.run(measure_model(console, given.goals, folder))
    if "injection" in given.parts:
        with tempfile.TemporaryDirectory(prefix="seedcore-bench-") as folder:
            met &= asyncio.run(measure_injection(console, given.ways, folder))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
