"""Chaos's checks can fail: from evidence of a clean run each test breaks one thing, and that one thing is found."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.chaos.evidence import End, Evidence, Run, Shown, Stale, read_journal
from benchmarks.chaos.judge import judge
from benchmarks.chaos.plan import Task

KEY, TASK, TOKEN = "chaos-1-0", "task-0", 7


def clean() -> Evidence:
    """One task that was leased twice: its first run was cut, its second ended it."""
    return Evidence(
        asked={KEY: Task(KEY, 0, 10)},
        acked={KEY: TASK},
        shown={TASK: Shown("completed", 2, 100, KEY, 1.0, 3.0, run="second", run_token=TOKEN)},
        stored={KEY: [TASK]},
        ends={TASK: [End("finished", "completed", TOKEN, 2)]},
        end_events={TASK: ["completed"]},
        newest={TASK: TOKEN},
        revoked={(TASK, 3)},
        stale_refused=5,
        runs={"first": Run(TASK, 3, 1, 1.1, cut=True), "second": Run(TASK, TOKEN, 2, 2.1, ended=2.9)},
    )


def shown(**changes: object) -> Callable[[Evidence], None]:
    def change(evidence: Evidence) -> None:
        evidence.shown[TASK] = replace(evidence.shown[TASK], **changes)  # type: ignore[arg-type]

    return change


def ended(**changes: object) -> Callable[[Evidence], None]:
    def change(evidence: Evidence) -> None:
        evidence.ends[TASK] = [replace(evidence.ends[TASK][0], **changes)]  # type: ignore[arg-type]

    return change


LOST: dict[str, Callable[[Evidence], object]] = {
    "there is no such task": lambda e: e.shown.clear(),
    "not ended in time": shown(status="running"),
    "nobody had asked": shown(status="cancelled"),
    "failed (lease_expired) after 2 of 100": shown(status="failed", code="lease_expired"),
    "result of run None": shown(run=None),
    "result of run second": lambda e: e.runs.update(second=Run(TASK, TOKEN, 2, 2.1)),
    "which never ended for this task": lambda e: e.runs.update(second=Run("another", TOKEN, 2, 2.1, ended=2.9)),
    "no event says so": lambda e: e.end_events.clear(),
}
TWICE: dict[str, Callable[[Evidence], object]] = {
    "ended 2 times: completed, completed": lambda e: e.end_events.update({TASK: ["completed", "completed"]}),
    "ended 2 times: completed, failed": lambda e: e.end_events.update({TASK: ["completed", "failed"]}),
    "stands in finished and dead": lambda e: e.ends[TASK].append(End("dead", "failed", TOKEN, 2)),
    "completed, and still in ready": lambda e: e.still_in.update({TASK: ["ready"]}),
    "later stood there": lambda e: e.rewritten.append((TASK, "ended, and later stood there otherwise")),
    "answered with task-0 and with task-1": lambda e: e.told_apart.append((KEY, TASK, "task-1")),
    "nobody was told of it": lambda e: e.shown.update({"task-1": Shown("completed", 1, 100, KEY, 1.0)}),
    "has 2 tasks": lambda e: e.stored.update({KEY: [TASK, "task-1"]}),
}
STOLEN: dict[str, Callable[[Evidence], object]] = {
    "lease 9 was issued": lambda e: e.newest.update({TASK: 9}),
    "lease 8 was issued": lambda e: e.runs.update(third=Run(TASK, 8, 3, 2.5)),
    "which had been taken away": lambda e: e.revoked.add((TASK, TOKEN)),
    "made under 3": lambda e: e.runs.update(second=Run(TASK, 3, 2, 2.1, ended=2.9)),
    "under no lease": ended(token=None),
    "witness's retry under the lost lease 3": lambda e: e.stale_accepted.append(Stale(TASK, 3, "retry")),
}


def test_a_clean_run_has_no_finding() -> None:
    verdict = judge(clean())
    assert verdict.clean
    assert verdict.counts() == {"lost": 0, "twice": 0, "stolen": 0, "unanswered": 0}
    assert (verdict.tasks, verdict.completed, verdict.runs, verdict.stale_refused) == (1, 1, 2, 5)


@pytest.mark.parametrize("why", LOST)
def test_what_is_lost_is_found(why: str) -> None:
    expect("lost", LOST[why], why)


@pytest.mark.parametrize("why", TWICE)
def test_what_ended_twice_is_found(why: str) -> None:
    expect("twice", TWICE[why], why)


@pytest.mark.parametrize("why", STOLEN)
def test_what_a_stale_worker_wrote_is_found(why: str) -> None:
    expect("stolen", STOLEN[why], why)


def expect(kind: str, breaks: Callable[[Evidence], object], why: str) -> None:
    evidence = clean()
    breaks(evidence)
    verdict = judge(evidence)
    assert not verdict.clean
    assert verdict.counts() == {"lost": 0, "twice": 0, "stolen": 0, "unanswered": 0} | {kind: 1}
    assert why in getattr(verdict, kind)[0].why


def test_a_submission_without_an_answer_is_found() -> None:
    evidence = clean()
    evidence.asked["chaos-1-1"] = Task("chaos-1-1", 1, 0)
    verdict = judge(evidence)
    assert not verdict.clean
    assert [f.why for f in verdict.unanswered] == ["never acknowledged"]


def test_a_dead_letter_is_not_lost_when_its_attempts_are_spent() -> None:
    evidence = clean()
    evidence.shown[TASK] = Shown("failed", 2, 2, KEY, 1.0, 3.0, code="lease_expired")
    evidence.ends[TASK] = [End("dead", "failed", TOKEN, 2)]
    evidence.end_events[TASK] = ["failed"]
    verdict = judge(evidence)
    assert verdict.clean
    assert (verdict.completed, verdict.dead_letters) == (0, 1)


def test_a_dead_letter_under_an_older_lease_is_stolen() -> None:
    evidence = clean()
    evidence.shown[TASK] = Shown("failed", 2, 2, KEY, 1.0, 3.0, code="lease_expired")
    evidence.ends[TASK] = [End("dead", "failed", 3, 2)]
    assert judge(evidence).counts()["stolen"] == 1


def test_the_journal_tells_which_runs_ended() -> None:
    runs = read_journal(
        [
            '{"what": "begin", "run": "a", "task": "t", "token": 3, "attempt": 1, "at": 1.0, "pid": 5}\n',
            '{"what": "begin", "run": "b", "task": "t", "token": 4, "attempt": 2, "at": 2.0, "pid": 6}\n',
            '{"what": "cut", "run": "a", "at": 2.5, "pid": 5}\n',
            '{"what": "end", "run": "b", "at": 3.0, "pid": 6}\n',
        ]
    )
    assert runs == {"a": Run("t", 3, 1, 1.0, cut=True), "b": Run("t", 4, 2, 2.0, ended=3.0)}


def test_a_journal_that_is_not_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid control character"):
        read_journal(['{"what": "begin", "ru\n'])
