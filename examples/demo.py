"""`python -m examples.demo`: trains a classifier for real patients through SeedCore, and predicts with it.

Starts SeedCore if none answers at its address, and leaves it running; `--stop` stops only what it started.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples import job, patients
from examples.api import Api, JobError
from examples.job import Outcome
from seedcore.cli.launch import background
from seedcore.cli.launch.background import BackgroundError
from seedcore.cli.launch.environment import local_url
from seedcore.errors import SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.stores.data_dir_lock import DataDirLock

FIRST_CONTACT_S = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every row was answered once (or all is stopped), 1 when not, 2 for bad settings, 130 when interrupted."""
    options = _options(argv)
    return exit_status(lambda settings: stop(settings) if options.stop else _demo(options, settings))


def exit_status(run: Callable[[Settings], int]) -> int:
    """The status of a demo that runs with the settings; what ended it early is said in one line."""
    try:
        return run(get_settings())
    except SettingsError as error:
        say(error.detail)
        return 2
    except (JobError, BackgroundError) as error:
        say(f"The demo ended early. {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _demo(options: argparse.Namespace, settings: Settings) -> int:
    contact_s = FIRST_CONTACT_S if options.base_url else start(settings)
    # The time of the start does not count towards the job's timeout.
    deadline = time.monotonic() + options.timeout
    outcome = asyncio.run(_run(options, options.base_url or settings.base_url, settings, deadline, contact_s))
    if options.json:
        print(json.dumps(as_json(outcome, options.split), indent=1))
    else:
        Console().print(table(outcome, options.split))
    if not options.base_url and background.started(settings):
        say(f"SeedCore keeps running at {settings.base_url}; `make demo ARGS=--stop` stops it.")
    return 0 if outcome.good else 1


def start(settings: Settings) -> float:
    """Start SeedCore unless one answers; returns the seconds that its applications may still need to start.

    Raises:
        BackgroundError: it did not start.
    """
    url = settings.base_url
    if _listens(url) or url != local_url(settings):
        return FIRST_CONTACT_S
    try:
        DataDirLock(settings.data_dir).check_free()
    except SettingsError as error:
        say(f"Waiting for a SeedCore that is starting. {error.detail}")
        return settings.bootstrap_timeout_s
    say(f"No SeedCore answers at {url}: starting one (Ctrl-C stops it again).")
    background.start(settings, say)
    return FIRST_CONTACT_S


def stop(settings: Settings) -> int:
    """Stop the SeedCore that `start` has started."""
    if background.stop(settings):
        say("The SeedCore that the demo had started has stopped.")
    elif _listens(settings.base_url):
        say(f"What answers at {settings.base_url} was not started by the demo, so it keeps running.")
    else:
        say("The demo has started no SeedCore here.")
    return 0


def say(text: str) -> None:
    """Print one line for people; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def _listens(url: str) -> bool:
    """Whether anything accepts connections there."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port or 80), timeout=2).close()
    except OSError:
        return False
    return True


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop only the SeedCore that the demo has started")
    parser.add_argument("--split", type=int, default=0, help="seed of the split into 70 and 30 percent (default 0)")
    parser.add_argument("--base-url", help="a running SeedCore (default: from the settings, started if needed)")
    parser.add_argument("--queue", help="queue of the tasks (default: the server's)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that the job may take (default 300)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(argv)


async def _run(
    options: argparse.Namespace, base_url: str, settings: Settings, deadline: float, contact_s: float
) -> Outcome:
    split = patients.load(options.split)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("training", total=len(split.test_rows))

        def notice(reason: str | None) -> None:
            progress.update(bar, description=f"waiting: {reason[:80]}" if reason else "predicting")

        api = Api(base_url.rstrip("/"), settings, deadline, notice)
        try:
            try:
                await api.json("GET", "/ml/health", within_s=contact_s)
            except JobError as error:
                raise JobError(f"{error}. Does SeedCore listen there (`make run` starts one)?") from None
            return await job.run(api, split, options.queue, lambda n: progress.update(bar, completed=n))
        finally:
            await api.aclose()


def as_json(outcome: Outcome, split: int) -> dict[str, object]:
    """The outcome as JSON."""
    derived = {"accuracy": outcome.accuracy, "throughput_per_s": round(outcome.throughput, 1), "good": outcome.good}
    return {"split": split, **derived, **asdict(outcome)}


def table(outcome: Outcome, split: int) -> Table:
    """The outcome for people."""
    report = Table(title="Breast cancer: every held-out patient is one task", show_header=False, title_justify="left")
    model = f"{outcome.model['name']} version {outcome.model['version']}"
    report.add_row("model", f"{model}, trained in {outcome.training_time_s:.2f} s")
    report.add_row("rows (split)", f"{outcome.rows} ({split})")
    report.add_row("answered once", str(outcome.answered - len(outcome.answered_twice)))
    for name in ("failed", "unanswered", "answered_twice"):
        wrong = getattr(outcome, name)
        if wrong:
            report.add_row(name.replace("_", " "), f"[red]{len(wrong)}[/red], such as {wrong[0]}")
    report.add_row("accuracy", f"{outcome.accuracy:.4f} ({outcome.correct} right)")
    report.add_row("throughput", f"{outcome.throughput:.1f} tasks/s over {outcome.seconds:.2f} s")
    if outcome.p50_ms is not None and outcome.p99_ms is not None:
        report.add_row("submit to complete", f"p50 {outcome.p50_ms:.0f} ms, p99 {outcome.p99_ms:.0f} ms")
    report.add_row("path", ", ".join(f"{route} {count}" for route, count in sorted(outcome.routes.items())))
    report.add_row("more than one attempt", str(outcome.retried))
    report.add_row("HTTP requests repeated", str(outcome.http_retries))
    return report


if __name__ == "__main__":
    sys.exit(main())
