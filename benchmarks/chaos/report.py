"""The results, for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.chaos.recovery import by_kind
from benchmarks.chaos.trial import Trial

SHOWN = 10
"""Findings that are printed of each seed and list."""


def as_json(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Everything, findings included."""
    return [{"clean": t.clean, **t.verdict.counts(), **asdict(t)} for t in trials]


def show(console: Console, trials: Sequence[Trial]) -> None:
    """Print the tables, and the findings if there are any."""
    console.print(_verdicts(trials))
    console.print(_recoveries(trials))
    for trial in trials:
        verdict = trial.verdict
        lists = {
            "LOST": verdict.lost,
            "TWICE": verdict.twice,
            "STOLEN": verdict.stolen,
            "NO ANSWER": verdict.unanswered,
        }
        for name, found in lists.items():
            for finding in found[:SHOWN]:
                console.print(f"seed {trial.seed} {name} {finding.task}: {finding.why}", highlight=False)
            if len(found) > SHOWN:
                console.print(f"seed {trial.seed} {name}: {len(found) - SHOWN} more (--json prints all)")


def _verdicts(trials: Sequence[Trial]) -> Table:
    table = Table(title="SIGKILL and SIGSTOP at random while tasks run")
    for column in ("seed", "tasks", "faults", "runs", "leases lost", "lost", "twice", "stolen", "no answer"):
        table.add_column(column, justify="right")
    for column in ("stale refused: provoked", "by dispatchers, ≥", "dead letters", "submits repeated", "s"):
        table.add_column(column, justify="right")
    for t in trials:
        v, counts = t.verdict, t.verdict.counts()
        stale = "unknown" if t.stale_counted is None else f"{t.stale_counted:,}"
        numbers = [v.tasks, len(t.struck), v.runs, v.leases_lost, *counts.values(), v.stale_refused]
        rest = [stale, f"{v.dead_letters:,}", f"{t.repeated:,}", f"{t.seconds:.0f}"]
        style = None if t.clean else "bold red"
        table.add_row(str(t.seed), *[f"{n:,}" for n in numbers], *rest, style=style)
    return table


def _recoveries(trials: Sequence[Trial]) -> Table:
    table = Table(
        title="Recovery, seconds: median and longest",
        caption="new task: from the fault until a task that was submitted after it had completed. "
        "running tasks: until the last one that ran when it came had ended (they take up to 2 s undisturbed).",
    )
    table.add_column("struck")
    for column in ("signal", "faults", "new task", "running tasks", "none in time"):
        table.add_column(column, justify="right")
    for t in by_kind([s for trial in trials for s in trial.struck]):
        table.add_row(t.kind, t.signal, str(t.faults), _pair(t.service), _pair(t.flight), str(t.never))
    return table


def _pair(times: tuple[float, float] | None) -> str:
    return "" if times is None else f"{times[0]:.1f}, {times[1]:.1f}"
