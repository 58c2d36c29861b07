"""`python -m benchmarks.accuracy`: mean accuracy over ten fixed splits, from the task results of a SeedCore alone."""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from examples import job, patients
from examples.api import Api, JobError
from examples.demo import as_json
from seedcore.settings import get_settings

SPLITS = tuple(range(10))
FLOOR = 0.94


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every row of every split was answered once and the mean accuracy is at least the floor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--base-url", help="where SeedCore answers HTTP (default: from the settings)")
    parser.add_argument("--queue", help="queue of the tasks (default: the server's)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that one split may take (default 300)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(argv)
    try:
        outcomes = asyncio.run(_all(options))
    except JobError as error:
        print(f"The benchmark ended early. {error}", file=sys.stderr)
        return 1
    mean = statistics.fmean(outcome["accuracy"] for outcome in outcomes)
    good = mean >= FLOOR and all(outcome["good"] for outcome in outcomes)
    if options.json:
        print(json.dumps({"mean_accuracy": mean, "floor": FLOOR, "good": good, "splits": outcomes}, indent=1))
    else:
        Console().print(_table(outcomes, mean))
    return 0 if good else 1


async def _all(options: argparse.Namespace) -> list[dict[str, Any]]:
    settings = get_settings()
    found = []
    for split in SPLITS:
        api = Api((options.base_url or settings.base_url).rstrip("/"), settings, time.monotonic() + options.timeout)
        try:
            found.append(as_json(await job.run(api, patients.load(split), options.queue), split))
        finally:
            await api.aclose()
    return found


def _table(outcomes: list[dict[str, Any]], mean: float) -> Table:
    made = Table(title=f"Mean accuracy {mean:.4f}, at least {FLOOR} is wanted", title_justify="left")
    for heading in ("split", "rows", "right", "accuracy", "tasks/s", "p50 ms", "p99 ms", "answered once"):
        made.add_column(heading, justify="right")
    for o in outcomes:
        times = [f"{o[name]:.0f}" if o[name] is not None else "-" for name in ("p50_ms", "p99_ms")]
        figures = [str(o["split"]), str(o["rows"]), str(o["correct"]), f"{o['accuracy']:.4f}"]
        made.add_row(*figures, f"{o['throughput_per_s']:.0f}", *times, "yes" if o["good"] else "no")
    return made


if __name__ == "__main__":
    sys.exit(main())
