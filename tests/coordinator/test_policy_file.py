"""The Coordinator's policy: what its triage submits is a task that can be submitted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from seedcore.coordinator.policy_file import load_policy
from seedcore.errors import InvalidInputError
from seedcore.tasks.submission.task_request import TaskIn


def loaded(folder: Path, task: str) -> dict[str, object]:
    path = folder / "policy.yaml"
    path.write_text(f"triage: {{actions: {{submit: {{task: {task}}}}}}}")
    given = load_policy(path, {"submit"}).triage.actions["submit"].task
    assert given is not None
    return given


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("{params: {}}", r"The policy .*policy.yaml: triage.actions.submit.task.type: Field required"),
        ("{type: echo, priority: 1000}", "triage.actions.submit.task.priority"),
        ("{type: echo, nope: 1}", "triage.actions.submit.task.nope"),
    ],
)
def test_a_task_that_cannot_be_submitted_is_refused_at_load(tmp_path: Path, task: str, message: str):
    with pytest.raises(InvalidInputError, match=message) as caught:
        loaded(tmp_path, task)
    assert caught.value.errors[0].field in message


def test_a_task_has_its_defaults_and_keeps_nulls_of_its_params(tmp_path: Path):
    task = loaded(tmp_path, "{type: echo, timeout_s: null, params: {value: null, deep: {a: null}}}")
    params = {"value": None, "deep": {"a": None}}
    assert task == {"type": "echo", "priority": 0, "params": params}


def test_a_moment_in_yaml_stays_that_moment(tmp_path: Path):
    task = loaded(tmp_path, "{type: echo, run_after: 2030-01-02 03:04:05Z}")
    assert TaskIn.model_validate(task).run_after == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_packages_own_policy_loads():
    assert load_policy(None).source == "default"
