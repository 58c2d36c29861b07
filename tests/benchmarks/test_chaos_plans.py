"""The judge of chaos with plans finds what must not be."""

import json
from typing import Any

import pytest

from benchmarks.chaos.plan_skills import NAMES
from benchmarks.chaos.plans import Outcome, judge


def goal() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A completed goal and the journal of its steps' runs."""
    steps: list[dict[str, Any]] = []
    journal: list[dict[str, Any]] = []
    for level, name in enumerate(NAMES, 1):
        run, task = f"run-{level}", f"task-{level}"
        steps.append({"id": task, "type": name, "status": "completed", "attempts": 1, "trail": ["7", run]})
        journal += [{"what": "begin", "run": run, "task": task}, {"what": "end", "run": run}]
    trail = ["7", *(f"run-{n}" for n in range(1, 7))]
    row = {"goal": "g", "status": "completed", "error_code": None, "error_message": None}
    return {**row, "trail": json.dumps(trail), "steps": json.dumps(steps)}, journal


def judged(row: dict[str, Any], journal: list[dict[str, Any]], twice: dict[str, int] | None = None) -> Outcome:
    outcome = Outcome(1)
    judge(outcome, [row], twice or {}, journal)
    return outcome


def test_a_plan_whose_effects_are_recorded_once_is_right():
    outcome = judged(*goal())
    assert (outcome.wrong, outcome.completed, outcome.steps, outcome.runs) == ([], 1, 6, 6)
    assert not outcome.clean, "nothing was killed"


def test_a_step_that_ran_again_is_right_when_one_run_is_recorded():
    row, journal = goal()
    outcome = judged(row, [{"what": "begin", "run": "lost", "task": "task-3"}, *journal])
    assert (outcome.wrong, outcome.runs) == ([], 7)


@pytest.mark.parametrize("fault", ["unended run", "another task's run", "step twice", "foreign result", "two ends"])
def test_what_must_not_be_is_found(fault: str):
    row, journal = goal()
    steps, twice = json.loads(row["steps"]), {}
    match fault:
        case "unended run":
            journal = journal[:-1]
        case "another task's run":
            journal[0]["task"] = "task-9"
        case "step twice":
            steps.append(steps[0])
        case "foreign result":
            row["trail"] = json.dumps(["7", "run-1", "other"])
        case "two ends":
            twice = {"task-1": 2}
    assert judged({**row, "steps": json.dumps(steps)}, journal, twice).wrong


def test_a_goal_that_did_not_complete_is_found():
    row, journal = goal()
    outcome = judged({**row, "status": None}, journal)
    assert outcome.wrong
    assert not outcome.completed
