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
    table.add_column("seed")
    for trial in trials:
        table.add_column(str(trial.seed), justify="right", style=None if trial.clean else "bold red")
    facts = [_facts(trial) for trial in trials]
    for name in facts[0]:
        table.add_row(name, *[fact[name] for fact in facts])
    return table


def _facts(trial: Trial) -> dict[str, str]:
    verdict, counts = trial.verdict, trial.verdict.counts()
    numbers: dict[str, int | None] = {
        "lost": counts["lost"],
        "completed twice": counts["twice"],
        "stolen": counts["stolen"],
        "submissions without answer": counts["unanswered"],
        "stale writes refused: of dispatchers, at least": trial.stale_counted,
        "stale writes refused: of the witness": verdict.stale_refused,
        "of them while another held the task": trial.against_holders,
        "leases lost": verdict.leases_lost,
        "faults": len(trial.struck),
        "tasks": verdict.tasks,
        "runs": verdict.runs,
        "dead letters (attempts spent)": verdict.dead_letters,
        "submissions sent again": trial.repeated,
        "seconds": round(trial.seconds),
    }
    return {name: "unknown" if number is None else f"{number:,}" for name, number in numbers.items()}


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
