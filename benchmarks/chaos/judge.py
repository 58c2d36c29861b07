"""What counts as lost, completed twice and stolen.

Three witnesses are held against each other: the client (what it was told), the skill's journal (which attempts ran,
and under which lease) and the database as a bystander saw it (which leases were issued and taken away, what ended how
often). The accepted result names the very run that made it, so whose write was taken is not the engine's word.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.chaos.evidence import ENDED, Evidence, Shown


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be."""

    task: str
    why: str


@dataclass(slots=True)
class Verdict:
    """The findings, and how much there was to find them in."""

    lost: list[Finding] = field(default_factory=list)
    twice: list[Finding] = field(default_factory=list)
    stolen: list[Finding] = field(default_factory=list)
    unanswered: list[Finding] = field(default_factory=list)
    tasks: int = 0
    completed: int = 0
    dead_letters: int = 0
    runs: int = 0
    leases_lost: int = 0
    stale_refused: int = 0

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing twice, nothing stolen, and every submission was answered."""
        return not (self.lost or self.twice or self.stolen or self.unanswered)

    def counts(self) -> dict[str, int]:
        """How many tasks each list names: one task with three findings is one task."""
        lists = {"lost": self.lost, "twice": self.twice, "stolen": self.stolen, "unanswered": self.unanswered}
        return {name: len({finding.task for finding in found}) for name, found in lists.items()}


def judge(evidence: Evidence) -> Verdict:
    """Hold the evidence together."""
    verdict = Verdict(
        tasks=len(evidence.acked),
        runs=len(evidence.runs),
        leases_lost=len(evidence.revoked),
        stale_refused=evidence.stale_refused,
    )
    shown = [evidence.shown[i] for i in evidence.acked.values() if i in evidence.shown]
    verdict.completed = sum(task.status == "completed" for task in shown)
    verdict.dead_letters = sum(task.status == "failed" and _spent(task) for task in shown)
    verdict.lost = list(_lost(evidence))
    verdict.twice = list(_twice(evidence))
    verdict.stolen = list(_stolen(evidence))
    verdict.unanswered = [
        Finding(key, evidence.refused_keys.get(key, "never acknowledged"))
        for key in evidence.asked
        if key not in evidence.acked
    ]
    return verdict


def _spent(task: Shown) -> bool:
    return task.attempts >= task.max_attempts


def _lost(evidence: Evidence) -> Iterator[Finding]:
    """Acknowledged and gone, not ended in time, given up before its time, or completed without having run."""
    for key, task_id in evidence.acked.items():
        task = evidence.shown.get(task_id)
        if task is None:
            yield Finding(task_id, f"acknowledged under {key}, and there is no such task")
        elif task.status not in ENDED:
            yield Finding(task_id, f"not ended in time: {task.status} in {evidence.still_in.get(task_id, 'no table')}")
        elif task.status == "cancelled":
            yield Finding(task_id, "cancelled, and nobody had asked for it")
        elif task.status == "failed" and not _spent(task):
            yield Finding(task_id, f"failed ({task.code}) after {task.attempts} of {task.max_attempts} attempts")
        elif task.status == "completed":
            run = evidence.runs.get(task.run or "")
            if run is None or run.ended is None or run.task != task_id:
                yield Finding(task_id, f"completed with the result of run {task.run}, which never ended for this task")
    for task_id, ends in evidence.ends.items():
        if not evidence.end_events.get(task_id):
            yield Finding(task_id, f"{ends[0].status}, and no event says so")


def _twice(evidence: Evidence) -> Iterator[Finding]:
    """Ended more than once, ended and still to run, or one submission that became two tasks."""
    for task_id, events in evidence.end_events.items():
        if len(events) > 1:
            yield Finding(task_id, f"ended {len(events)} times: {', '.join(events)}")
    for task_id, ends in evidence.ends.items():
        if len(ends) > 1:
            yield Finding(task_id, f"its end stands in {' and '.join(e.table for e in ends)}")
        if task_id in evidence.still_in:
            yield Finding(task_id, f"{ends[0].status}, and still in {', '.join(evidence.still_in[task_id])}")
    for task_id, what in evidence.rewritten:
        yield Finding(task_id, what)
    for key, first, other in evidence.told_apart:
        yield Finding(first, f"the key {key} was answered with {first} and with {other}")
    named = set(evidence.acked.values())
    for task_id, task in evidence.shown.items():
        # What was never acknowledged may or may not have been stored.
        if task_id not in named and (task.key in evidence.acked or task.key not in evidence.asked):
            yield Finding(task_id, f"stands under the key {task.key}, and nobody was told of it")
    for key, ids in evidence.stored.items():
        if len(set(ids)) > 1:
            yield Finding(ids[0], f"the key {key} has {len(set(ids))} tasks")


def _stolen(evidence: Evidence) -> Iterator[Finding]:
    """The accepted write was made under a lease that was lost, or that was not the newest."""
    for stale in evidence.stale_accepted:
        yield Finding(stale.task, f"the witness's {stale.write} under the lost lease {stale.token} was accepted")
    newest = dict(evidence.newest)
    for run in evidence.runs.values():
        newest[run.task] = max(run.token, newest.get(run.task, 0))
    for task_id, ends in evidence.ends.items():
        for end in ends:
            if end.token is None:
                if end.status == "completed":
                    yield Finding(task_id, "completed under no lease")
                continue
            if end.token < newest.get(task_id, 0):
                yield Finding(task_id, f"{end.status} under {end.token}, and lease {newest[task_id]} was issued")
            if (task_id, end.token) in evidence.revoked:
                yield Finding(task_id, f"{end.status} under {end.token}, which had been taken away")
            yield from _not_its_own(evidence, task_id, end.token, end.status)


def _not_its_own(evidence: Evidence, task_id: str, token: int, status: str) -> Iterator[Finding]:
    task = evidence.shown.get(task_id)
    if status != "completed" or task is None or task.run is None:
        return
    run = evidence.runs.get(task.run)
    made_under = task.run_token if run is None else run.token
    if made_under != token:
        yield Finding(task_id, f"completed under {token} with a result that was made under {made_under}")
