"""From a valid plan, as JSON, to the steps that the task engine stores."""

import contextlib
import json
from collections.abc import Mapping
from uuid import UUID

from pydantic import JsonValue

from seedcore.tasks.model import StepSpec, Usage, new_id
from seedcore.tasks.plans.plan import FROM, INPUTS
from seedcore.worker.ports import PlanJson, PlanStepJson

MAX_FACTS = 100
"""Most facts that are noted of one plan."""

MAX_SPENT = 1e15


def planned_by(plan: PlanJson) -> str | None:
    """Who planned, for the decision: a language model, or who did in its place; None where none was asked."""
    if plan.get("engine") == "llm":
        return f"planned by the language model {plan.get('model')}"
    fallback = plan.get("fallback")
    return None if fallback is None else f"planned offline, as the language model gave no plan ({fallback['code']})"


def renamed(plan: PlanJson, prefix: str, done: Mapping[str, str]) -> PlanJson:
    """`plan` with a prefix to the names of its own steps, so that none has the name of an earlier one (`done`)."""

    def move(value: JsonValue) -> JsonValue:
        source = _source(value)
        return value if source in (None, INPUTS, *done) else {**_object(value), FROM: f"{prefix}{source}"}

    steps: list[PlanStepJson] = [
        {
            **step,
            "id": prefix + step["id"],
            "params": {name: move(value) for name, value in step["params"].items()},
            "needs": [name if name in done else prefix + name for name in step.get("needs", ())],
        }
        for step in plan["steps"]
    ]
    return {**plan, "steps": steps, "output": {name: move(value) for name, value in plan["output"].items()}}


def steps_of(plan: PlanJson, inputs: Mapping[str, JsonValue], done: Mapping[str, UUID]) -> list[StepSpec]:
    """The steps of a valid plan with ids of their own; what comes from `inputs` is filled in at once."""
    ids = {step["id"]: new_id() for step in plan["steps"]}
    return [_step(step, ids, done, inputs) for step in plan["steps"]]


def _step(
    step: PlanStepJson, ids: Mapping[str, UUID], done: Mapping[str, UUID], inputs: Mapping[str, JsonValue]
) -> StepSpec:
    literals: dict[str, JsonValue] = {}
    bindings: dict[str, JsonValue] = {}
    for name, value in step["params"].items():
        source = _source(value)
        if source is None:
            literals[name] = value
        elif source == INPUTS:
            literals[name] = inputs[str(_object(value)["field"])]
        else:
            task = ids.get(source) or done[source]
            bindings[name] = {"task": str(task), "field": _object(value)["field"]}
    needs = tuple(sorted(ids[name] for name in step.get("needs", ()) if name in ids))
    bound = json.dumps(bindings) if bindings else None
    return StepSpec(ids[step["id"]], step["id"], step["skill"], json.dumps(literals), bound, needs)


def _source(value: JsonValue) -> str | None:
    """What a reference refers to; None for a literal."""
    return str(value[FROM]) if isinstance(value, dict) and FROM in value else None


def _object(value: JsonValue) -> dict[str, JsonValue]:
    assert isinstance(value, dict)
    return value


def facts_of(plan: PlanJson) -> tuple[UUID, ...]:
    """The facts that a plan says it relied on, each once; what is no id of one is left out."""
    found: dict[UUID, None] = {}
    for item in plan.get("evidence", ()):
        if item.get("kind") == "fact":
            with contextlib.suppress(ValueError):
                found[UUID(str(item.get("id")))] = None
    return tuple(found)[:MAX_FACTS]


def planning_usage(given: object) -> Usage | None:
    """What a language model used for a plan, as the Cognitive service says it; None: nothing, or it cannot be read."""
    if not isinstance(given, Mapping):
        return None
    counts = [given.get(name, 0) for name in ("input_tokens", "output_tokens", "money")]
    if not all(isinstance(count, int | float) and 0 <= count <= MAX_SPENT for count in counts) or not any(counts):
        return None
    return Usage(float(counts[0] + counts[1]), float(counts[2]))
