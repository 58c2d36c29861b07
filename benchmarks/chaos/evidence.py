"""What is known at the end of a run, and from whom. Nothing here decides anything; `judge` does."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.chaos.plan import Task

ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass(slots=True)
class Run:
    """One execution of the skill, as its own journal tells it. Times are seconds since the epoch."""

    task: str
    token: int
    attempt: int
    began: float
    ended: float | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """A row that says a task has ended, and the table it stands in."""

    table: str
    status: str
    token: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A task as the public API shows it; times are seconds since the epoch (the database's clock)."""

    status: str
    attempts: int
    max_attempts: int
    key: str | None
    created: float
    finished: float | None = None
    run: str | None = None
    run_token: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """A write under a lost lease that the witness tried."""

    task: str
    token: int
    write: str


@dataclass(slots=True)
class Evidence:
    """Everything that is held against the engine; ids are texts.

    Attributes:
        asked: what the client wanted, by idempotency key.
        acked: the task's id that the client was told, by key.
        told_apart: keys whose acknowledgements named different tasks: (key, first id, other id).
        refused_keys: submissions that were refused for good, with the answer.
        shown: every task of the skill, as the public API lists it at the end.
        stored: ids of the tasks that stand under a key in the database.
        ends: rows that say that a task has ended.
        end_events: names of a task's last events in the order they were written.
        still_in: the short tables in which a task stands at the end.
        rewritten: ends that changed or vanished while the witness looked: (id, what).
        newest: the highest token that the witness saw issued for a task.
        revoked: (id, token) of leases that were taken away while the task had not ended.
        stale_accepted: writes under a lost lease that the engine took.
        stale_refused: how many such writes it refused.
        runs: the skill's journal by run.
    """

    asked: dict[str, Task] = field(default_factory=dict)
    acked: dict[str, str] = field(default_factory=dict)
    told_apart: list[tuple[str, str, str]] = field(default_factory=list)
    refused_keys: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)
    stored: dict[str, list[str]] = field(default_factory=dict)
    ends: dict[str, list[End]] = field(default_factory=dict)
    end_events: dict[str, list[str]] = field(default_factory=dict)
    still_in: dict[str, list[str]] = field(default_factory=dict)
    rewritten: list[tuple[str, str]] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)
    revoked: set[tuple[str, int]] = field(default_factory=set)
    stale_accepted: list[Stale] = field(default_factory=list)
    stale_refused: int = 0
    runs: dict[str, Run] = field(default_factory=dict)


def read_journal(lines: Iterable[str]) -> dict[str, Run]:
    """The runs that a skill's journal holds.

    Raises:
        ValueError: a line is not whole; appending is atomic, so something else wrote into it.
    """
    runs: dict[str, Run] = {}
    for line in lines:
        note = json.loads(line)
        match note["what"]:
            case "begin":
                runs[note["run"]] = Run(note["task"], note["token"], note["attempt"], note["at"])
            case "end":
                runs[note["run"]].ended = note["at"]
            case "cut":
                runs[note["run"]].cut = True
            case what:
                raise ValueError(f"the journal holds a line of an unknown kind: {what!r}")
    return runs
