"""From what a model wrote to a plan that passes the same check as every plan."""

from collections.abc import Mapping, Sequence

from seedcore.cognitive.engines.llm.drafts import StepDraft
from seedcore.cognitive.engines.plan_check import check_plan
from seedcore.errors import InvalidInputError
from seedcore.schemas.cognitive.engine_answer import EvidenceOut
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.plan import FROM, INPUTS, PlanDefinition, Step, is_reference


def plan_of(
    steps: Sequence[StepDraft],
    output: Mapping[str, Mapping[str, object]],
    skills: Mapping[str, Signature],
    inputs: Mapping[str, object],
    *,
    max_steps: int,
    said: str,
    without: Sequence[str] = (),
    done: Mapping[str, str] | None = None,
) -> PlanDefinition:
    """The plan that a model drafted, checked. Its steps' needs follow from their references.

    Raises:
        InvalidInputError: names every step and field that is wrong.
    """
    drafted = tuple(Step(step.id, step.skill, dict(step.params), _needs(step)) for step in _in_order(steps))
    wanted = {name: {str(key): str(value) for key, value in source.items()} for name, source in output.items()}
    cost = sum(skills[step.skill].cost for step in drafted if step.skill in skills)
    plan = PlanDefinition(drafted, wanted, inputs, round(cost, 4))
    check_plan(plan, skills, max_steps=max_steps, said=said, without=without, done=done)
    return plan


def cited(cites: Sequence[str], evidence: Sequence[EvidenceOut]) -> list[EvidenceOut]:
    """The evidence that a model cites.

    Raises:
        InvalidInputError: it cites an id that it was not given.
    """
    known = {item.id: item for item in evidence if item.id is not None}
    if unknown := [cite for cite in cites if cite not in known]:
        raise InvalidInputError.for_field("cites", f"{unknown[0]!r} is not the id of any evidence given")
    return [known[cite] for cite in dict.fromkeys(cites)]


def _sources(step: StepDraft) -> list[str]:
    return [str(value[FROM]) for value in step.params.values() if is_reference(value)]


def _needs(step: StepDraft) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source for source in _sources(step) if source != INPUTS))


def _in_order(steps: Sequence[StepDraft]) -> list[StepDraft]:
    """The steps, each after those that it takes from; those of a circle stay at the end, where the check finds them."""
    left, order = list(steps), []
    while left:
        waiting = {step.id for step in left}
        step = next((s for s in left if not waiting & set(_sources(s))), None)
        if step is None:
            break
        left.remove(step)
        order.append(step)
    return [*order, *left]
