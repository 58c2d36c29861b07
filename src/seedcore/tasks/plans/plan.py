"""A plan, and the check that its steps fit the skills."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from seedcore.errors import FieldError, InvalidInputError
from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Signature

INPUTS = "inputs"
FROM = "$from"


@dataclass(frozen=True, slots=True)
class Step:
    """One skill to run. A param is a literal, or `{"$from": "inputs" or a step's id, "field": name}`."""

    id: str
    skill: str
    params: dict[str, object]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanDefinition:
    """Steps in an order in which each needs only earlier ones, and where each part of the goal comes from."""

    steps: tuple[Step, ...]
    output: dict[str, dict[str, str]]
    inputs: Mapping[str, object] = field(default_factory=dict)
    cost: float = 0.0
    explored: int = 0


def reference(source: str, name: str) -> dict[str, str]:
    """Where a value comes from."""
    return {FROM: source, "field": name}


def is_reference(value: object) -> TypeGuard[Mapping[str, str]]:
    """Whether a param is a reference, well-formed or not."""
    return isinstance(value, Mapping) and FROM in value


def read_plan(plan: Mapping[str, Any], inputs: Mapping[str, object]) -> PlanDefinition:
    """The plan in the JSON `{steps: [{id, skill, params, needs}], output}`.

    Raises:
        KeyError, TypeError, AttributeError: it has another shape.
    """
    steps = tuple(Step(s["id"], s["skill"], dict(s["params"]), tuple(s.get("needs", ()))) for s in plan["steps"])
    return PlanDefinition(steps, dict(plan.get("output") or {}), inputs)


def validate_plan(
    plan: PlanDefinition,
    skills: Mapping[str, Signature],
    *,
    max_steps: int | None = None,
    done: Mapping[str, str] | None = None,
) -> None:
    """Check a plan against the skills' types, and against the number of steps that it may have.

    Args:
        plan: of any origin.
        skills: the skills that exist.
        max_steps: how many steps it may have; None: any number.
        done: skills of earlier steps that completed, by the step's id: steps may take from them.

    Raises:
        InvalidInputError: names every step and field that is wrong: an unknown skill or field, a required
            param that is not bound, a type that does not fit, a reference to a step that is not earlier, an id
            that repeats, needs that lack a reference or name no earlier step, an output that is not there.
    """
    sources: dict[str, Mapping[str, JsonType]] = {
        INPUTS: {name: jsontypes.of_value(value) for name, value in plan.inputs.items()}
    }
    earlier = {step_id: skills[name].results for step_id, name in (done or {}).items() if name in skills}
    sources |= earlier
    wrong: list[FieldError] = []
    if max_steps is not None and len(plan.steps) > max_steps:
        wrong.append(FieldError("steps", f"{len(plan.steps)} steps, at most {max_steps} are allowed"))
    if not plan.steps and not earlier:
        wrong.append(FieldError("steps", "there is none"))
    for i, step in enumerate(plan.steps):
        where = f"steps.{i}"
        if step.id in sources:
            wrong.append(FieldError(f"{where}.id", f"{step.id!r} is taken"))
        skill = skills.get(step.skill)
        if skill is None:
            wrong.append(FieldError(f"{where}.skill", f"there is no skill {step.skill!r}"))
            continue
        wrong += _wrong_params(step, skill, sources, where)
        sources[step.id] = skill.results
    for name, value in plan.output.items():
        if not is_reference(value) or _type_of(value, sources) is None:
            wrong.append(FieldError(f"output.{name}", f"{value!r} is not a field of the inputs or of a step"))
    if wrong:
        raise InvalidInputError.for_fields(wrong)


def _wrong_params(
    step: Step, skill: Signature, sources: Mapping[str, Mapping[str, JsonType]], where: str
) -> list[FieldError]:
    wrong = [
        FieldError(f"{where}.params.{name}", f"{skill.name} needs it")
        for name, param in skill.params.items()
        if param.required and name not in step.params
    ]
    referred = set()
    for name, value in step.params.items():
        place, param = f"{where}.params.{name}", skill.params.get(name)
        if param is None:
            wrong.append(FieldError(place, f"{skill.name} has no such param"))
            continue
        given = _type_of(value, sources)
        if given is None:
            wrong.append(FieldError(place, f"{value!r} is not a field of the inputs or of an earlier step"))
            continue
        if is_reference(value) and value[FROM] != INPUTS:
            referred.add(value[FROM])
        if not jsontypes.fits(given, param.type):
            message = f"is {jsontypes.shown(given)}, {skill.name} takes {jsontypes.shown(param.type)}"
            wrong.append(FieldError(place, message))
    needs = set(step.needs)
    if not referred <= needs or len(step.needs) != len(needs):
        wrong.append(FieldError(f"{where}.needs", f"must hold the steps that params come from: {sorted(referred)}"))
    if later := sorted(needs - referred - sources.keys() | needs & {INPUTS}):
        wrong.append(FieldError(f"{where}.needs", f"{later} are not earlier steps"))
    return wrong


def _type_of(value: object, sources: Mapping[str, Mapping[str, JsonType]]) -> JsonType | None:
    """The type of a param's value; None when it is a reference to nothing."""
    if not is_reference(value):
        return jsontypes.of_value(value)
    if set(value) != {FROM, "field"} or not all(isinstance(part, str) for part in value.values()):
        return None
    return sources.get(value[FROM], {}).get(value["field"])
