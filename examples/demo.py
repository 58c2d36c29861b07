"""`python -m examples.demo`: a classifier for real patients, trained and asked through a running SeedCore."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples import job, patients
from examples.api import Api, JobError
from examples.job import Outcome
from seedcore.errors import SettingsError
from seedcore.settings import get_settings

FIRST_CONTACT_S = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every row was answered once, 1 when not, 2 for bad settings."""
    options = _options(argv)
    try:
        settings = get_settings()
    except SettingsError as error:
        print(error.detail, file=sys.stderr)
        return 2
    deadline = time.monotonic() + options.timeout
    try:
        outcome = asyncio.run(_run(options, options.base_url or settings.base_url, settings, deadline))
    except JobError as error:
        print(f"The demo ended early. {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(as_json(outcome, options.split), indent=1))
    else:
        Console().print(table(outcome, options.split))
    return 0 if outcome.good else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--split", type=int, default=0, help="seed of the split into 70 and 30 percent (default 0)")
    parser.add_argument("--base-url", help="where SeedCore answers HTTP (default: from the settings)")
    parser.add_argument("--queue", help="queue of the tasks (default: the server's)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that all may take (default 300)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace, base_url: str, settings: Any, deadline: float) -> Outcome:
    split = patients.load(options.split)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("training", total=len(split.test_rows))

        def notice(reason: str | None) -> None:
            progress.update(bar, description=f"waiting: {reason[:80]}" if reason else "predicting")

        api = Api(base_url.rstrip("/"), settings, deadline, notice)
        try:
            try:
                await api.json("GET", "/ml/health", within_s=FIRST_CONTACT_S)
            except JobError as error:
                raise JobError(f"{error}. Is SeedCore running (`make run`)?") from None
            return await job.run(api, split, options.queue, lambda n: progress.update(bar, completed=n))
        finally:
            await api.aclose()


def as_json(outcome: Outcome, split: int) -> dict[str, Any]:
    """All of the outcome as JSON."""
    derived = {"accuracy": outcome.accuracy, "throughput_per_s": round(outcome.throughput, 1), "good": outcome.good}
    return {"split": split, **derived, **asdict(outcome)}


def table(outcome: Outcome, split: int) -> Table:
    """The outcome for people."""
    made = Table(title="Breast cancer: every held-out patient is one task", show_header=False, title_justify="left")
    model = f"{outcome.model['name']} version {outcome.model['version']}"
    made.add_row("model", f"{model}, trained in {outcome.training_time_s:.2f} s")
    made.add_row("rows (split)", f"{outcome.rows} ({split})")
    made.add_row("answered once", str(outcome.answered - len(outcome.answered_twice)))
    for name in ("failed", "unanswered", "answered_twice"):
        wrong = getattr(outcome, name)
        if wrong:
            made.add_row(name.replace("_", " "), f"[red]{len(wrong)}[/red], such as {wrong[0]}")
    made.add_row("accuracy", f"{outcome.accuracy:.4f} ({outcome.correct} right)")
    made.add_row("throughput", f"{outcome.throughput:.1f} tasks/s over {outcome.seconds:.2f} s")
    if outcome.p50_ms is not None and outcome.p99_ms is not None:
        made.add_row("submit to complete", f"p50 {outcome.p50_ms:.0f} ms, p99 {outcome.p99_ms:.0f} ms")
    made.add_row("path", ", ".join(f"{route} {count}" for route, count in sorted(outcome.routes.items())))
    made.add_row("more than one attempt", str(outcome.retried))
    made.add_row("HTTP requests repeated", str(outcome.http_retries))
    return made


if __name__ == "__main__":
    sys.exit(main())
