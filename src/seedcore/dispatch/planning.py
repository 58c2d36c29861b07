"""From a plan (JSON, as the Cognitive service answers it) to steps that the task engine stores."""

import json
from collections.abc import Mapping
from typing import Any

from seedcore.dispatch.ports import Brain
from seedcore.errors import InvalidInputError
from seedcore.tasks.model import GOAL, Lease, Step, new_id


async def make_plan(brain: Brain, lease: Lease) -> tuple[dict[str, Any], list[Step]]:
    """Ask for a plan for a leased task; returns it as JSON and as steps to store.

    A goal names what it wants and what it starts from. A task whose skill is known is planned for from its params.
    """
    params = json.loads(lease.params)
    goal, inputs = (params.get("goal"), params.get("inputs") or {}) if lease.type == GOAL else (lease.type, params)
    plan = await brain.plan(goal, inputs)
    return plan, steps_of(plan, inputs)


def steps_of(plan: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Step]:
    """The steps of `plan` with ids of their own; what comes from `inputs` is filled in at once.

    Raises:
        InvalidInputError: a step refers to an input or a step that is not there, or there is no step.
    """
    if not plan.get("steps"):
        raise InvalidInputError("The plan has no steps.")
    ids = {step["id"]: new_id() for step in plan["steps"]}
    return [_step(step, ids, inputs) for step in plan["steps"]]


def _step(step: Mapping[str, Any], ids: Mapping[str, Any], inputs: Mapping[str, Any]) -> Step:
    literals: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for field, value in step["params"].items():
        source = value.get("$from") if isinstance(value, dict) else None
        if source is None:
            literals[field] = value
        elif source == "inputs":
            literals[field] = _input(inputs, value["field"], step["id"])
        elif source in ids:
            bindings[field] = {"task": str(ids[source]), "field": value["field"]}
        else:
            raise InvalidInputError(f"Step {step['id']}: {field} comes from {source!r}, which is no step.")
    needs = {ids[name] for name in step.get("needs", ()) if name in ids}
    needs |= {ids[value["$from"]] for value in step["params"].values() if _is_step(value, ids)}
    bound = json.dumps(bindings) if bindings else None
    return Step(ids[step["id"]], step["id"], step["skill"], json.dumps(literals), bound, tuple(sorted(needs)))


def _is_step(value: Any, ids: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and value.get("$from") in ids


def _input(inputs: Mapping[str, Any], field: str, step: str) -> Any:
    if field not in inputs:
        raise InvalidInputError(f"Step {step}: the goal's inputs hold no {field!r}.")
    return inputs[field]
