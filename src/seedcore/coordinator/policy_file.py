"""Loads the policy for the Coordinator: `decision.policy`, and the task that the action `submit` submits."""

from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from seedcore.decision import policy
from seedcore.decision.policy import Policy
from seedcore.errors import InvalidInputError, wrong_fields
from seedcore.tasks.submission.task_request import TaskIn


def load_policy(path: Path | None, actions: Collection[str] = ()) -> Policy:
    """The policy in a file, or the package's own; `actions` are the known actions of a triage.

    Raises:
        InvalidInputError: the file cannot be read, a field is wrong, or a rule does not compile; the text says which.
    """
    return with_valid_tasks(policy.load_policy(path, actions))


def with_valid_tasks(loaded: Policy) -> Policy:
    """The policy with the tasks of its actions validated, and completed by defaults.

    Raises:
        InvalidInputError: a field of a task is wrong.
    """
    for name, action in loaded.triage.actions.items():
        if action.task is None:
            continue
        try:
            task = TaskIn.model_validate(action.task)
        except ValidationError as error:
            fields = wrong_fields(error.errors(), "triage", "actions", name, "task")
            raise InvalidInputError.for_fields(fields, f"The policy {loaded.source}: ") from None
        # Params may hold nulls, which are values there and not options that are left out.
        options = task.model_dump(mode="json", exclude_none=True, exclude={"params"})
        action.task = options | {"params": task.model_dump(mode="json", include={"params"})["params"]}
    return loaded
