"""Loads the policy for the Coordinator: `decision.policy`, and the task that the action `submit` submits."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from seedcore.decision.policy import MAX_BYTES, Policy, parse_policy
from seedcore.errors import InvalidInputError, wrong_fields
from seedcore.schemas.snapshot import PolicyJson
from seedcore.tasks.submission.task_request import TaskIn


class PolicyFile(NamedTuple):
    """A loaded policy, and its file as workers get it, who compile it themselves."""

    policy: Policy
    published: PolicyJson


def load_policy(path: Path | None, actions: Collection[str] = ()) -> Policy:
    """The policy in a file, or the package's own; see `read_policy`."""
    return read_policy(path, actions).policy


def read_policy(path: Path | None, actions: Collection[str] = ()) -> PolicyFile:
    """The policy in a file, or the package's own; `actions` are the known actions of a triage.

    Raises:
        InvalidInputError: the file cannot be read, a field is wrong, or a rule does not compile; the text says which.
    """
    source = "default" if path is None else str(path)
    try:
        with (files("seedcore.decision").joinpath("default_policy.yaml") if path is None else path).open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"The policy {path} cannot be read: {error.strerror}.") from error
    loaded = with_valid_tasks(parse_policy(text, source, actions))
    # YAML is UTF-8, or UTF-16 with a mark at its beginning.
    encoding = "utf-16" if text[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    return PolicyFile(loaded, {"source": source, "text": text.decode(encoding), "version": loaded.version})


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
