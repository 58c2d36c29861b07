"""`python -m benchmarks.chaos`: kill and stop processes of a running SeedCore at random while tasks run, then judge.

Exit status 0: nothing was lost, nothing completed twice, no stale write accepted, and every task ended in time, in all
seeds. Every seed starts a system of its own.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.chaos import report
from benchmarks.chaos.plan import KINDS
from benchmarks.chaos.plans import run_plans
from benchmarks.chaos.trial import Options, Trial, run_seed

_KINDS = f"kinds of process to strike (default: all): {', '.join(KINDS)}"


def main() -> int:
    """Run the seeds one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of a seed")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rate", type=float, default=150.0, help="tasks submitted a second")
    parser.add_argument("--kills-every", type=float, default=2.0, metavar="S", help="mean pause between two faults")
    parser.add_argument("--lease", type=float, default=5.0, metavar="S", help="SEEDCORE_LEASE_S of the run")
    parser.add_argument("--patience", type=float, default=180.0, metavar="S", help="longest wait for the last end")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND", help=_KINDS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy the logs of a seed with findings there")
    parser.add_argument("--plans", type=int, metavar="N", help="N goals of six steps instead, a kill at each boundary")
    parser.add_argument("--waves", type=int, default=10, help="waves that the goals of --plans come in")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    options = Options(
        given.tasks, given.rate, given.kills_every, given.lease, given.patience, given.keep, tuple(given.only)
    )
    # What goes on is said beside the result, so that --json leaves standard output to the JSON.
    aside = Console(stderr=True)
    if given.plans:
        outcome = run_plans(given.plans, given.waves, given.lease, aside)
        print(json.dumps(outcome.as_json(), indent=1))
        return 0 if outcome.clean else 1
    aside.print(f"SEEDCORE_LEASE_S={options.lease_s:g} here, so that stops outlast leases; the default is longer.")
    trials = [_seed(seed, options, aside) for seed in given.seeds]
    if given.json:
        print(json.dumps(report.as_json(trials), indent=1))
    else:
        report.show(Console(), trials)
    return 0 if all(trial.clean for trial in trials) else 1


def _seed(seed: int, options: Options, console: Console) -> Trial:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        submitted = progress.add_task(f"seed {seed}: starting", total=options.tasks)
        ended = progress.add_task("ended", total=options.tasks)

        def tell(acknowledged: int, done: int, faults: int) -> None:
            progress.update(submitted, completed=acknowledged, description=f"seed {seed}: submitted, {faults} faults")
            progress.update(ended, completed=done)

        trial = run_seed(seed, options, tell)
    counts = ", ".join(f"{count} {name}" for name, count in trial.verdict.counts().items())
    console.print(f"seed {seed}: {counts}; {len(trial.struck)} faults, {trial.seconds:.0f} s", highlight=False)
    return trial


if __name__ == "__main__":
    sys.exit(main())
