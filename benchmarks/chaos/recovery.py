"""How long it took: after each fault, until the system did its work again."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.chaos.evidence import Run, Shown


@dataclass(slots=True)
class Struck:
    """A fault that happened.

    Attributes:
        kind: a name in `plan.KINDS`.
        signal: SIGKILL or SIGSTOP.
        at: when, seconds since the epoch.
        processes: how many processes were struck.
        stop_s: how long they stood still.
        service_s: until a task that was submitted (over HTTP) after the fault had completed; None: not in time.
        flight_s: until the last task that ran when the fault came had ended; None: none ran.
    """

    kind: str
    signal: str
    at: float
    processes: int
    stop_s: float = 0.0
    service_s: float | None = None
    flight_s: float | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Recovery of one kind; seconds."""

    kind: str
    signal: str
    faults: int
    service: tuple[float, float] | None
    flight: tuple[float, float] | None
    never: int


def in_flight(struck: Iterable[Struck], runs: Iterable[Run], shown: Mapping[str, Shown]) -> None:
    """Fill in `flight_s`: a task ran at the fault when one of its runs had begun and it had not ended."""
    first: dict[str, float] = {}
    for run in runs:
        first[run.task] = min(run.began, first.get(run.task, run.began))
    spans = [(began, shown[i].finished) for i, began in first.items() if i in shown]
    for fault in struck:
        ends = [end for began, end in spans if end is not None and began < fault.at < end]
        fault.flight_s = max(ends) - fault.at if ends else None


def by_kind(struck: Sequence[Struck]) -> list[Times]:
    """Median and longest by kind and signal."""
    found = []
    for kind, signal in sorted({(s.kind, s.signal) for s in struck}):
        mine = [s for s in struck if (s.kind, s.signal) == (kind, signal)]
        never = sum(s.service_s is None for s in mine)
        service = _middle_and_most([s.service_s for s in mine])
        found.append(Times(kind, signal, len(mine), service, _middle_and_most([s.flight_s for s in mine]), never))
    return found


def _middle_and_most(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return (statistics.median(known), max(known)) if known else None
