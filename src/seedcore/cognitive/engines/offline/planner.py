"""Finds the cheapest plan: a set of skills that leads from the inputs to the goal, with what each takes from where."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from seedcore.cognitive.engines.offline.cheapest_actions import SearchBounds, cheapest_actions
from seedcore.cognitive.engines.offline.goals import Goal, parse_goals
from seedcore.cognitive.engines.offline.search_problem import (
    SearchProblem,
    build_problem,
    optional_params,
    required_params,
)
from seedcore.errors import FieldError, InvalidInputError, NoPlanError
from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.plan import FROM, INPUTS, PlanDefinition, Step, reference


def find_plan(
    goal: str | Sequence[str],
    inputs: Mapping[str, object],
    skills: Mapping[str, Signature],
    bounds: SearchBounds | None = None,
    *,
    without: Collection[str] = (),
    done: Mapping[str, str] | None = None,
) -> PlanDefinition:
    """The cheapest plan that reaches `goal` from `inputs`; among equals always the same one.

    A param takes the value with its name and a fitting type: from the inputs if they have it, else from the earliest
    step that provides it. Optional params are bound when something in the plan provides them.

    Args:
        goal: one goal or several.
        inputs: values that exist already.
        skills: the skills to plan with.
        bounds: how far to search.
        without: skills not to run, because they failed.
        done: skills of completed steps, by the step's id: a plan uses their results and does not repeat them. When
            they meet the whole goal, the plan has no steps.

    Raises:
        NoPlanError: no sequence of skills reaches the goal; the detail says what is missing.
        InvalidInputError: the inputs already meet the goal.
        DeadlineError: the search took too long.
    """
    bounds = bounds or SearchBounds()
    wanted = parse_goals(goal, inputs, skills)
    earlier = {step_id: skills[name] for step_id, name in (done or {}).items()}
    usable = {name: skill for name, skill in skills.items() if name not in without}
    problem = build_problem(wanted, inputs, usable, earlier.values())
    if not problem.reached(problem.closure()):
        raise _unreachable(wanted, inputs, usable, problem)
    if problem.reached(problem.start) and not earlier:
        raise InvalidInputError.for_field("goal", "is among the inputs already")
    chosen, explored = cheapest_actions(problem, bounds)
    return _bind(chosen, wanted, inputs, earlier, explored)


@dataclass(slots=True)
class _Draft:
    id: str
    skill: Signature
    params: dict[str, dict[str, str]] = field(default_factory=dict)

    def sources(self) -> set[str]:
        return {value[FROM] for value in self.params.values()} - {INPUTS}


class _Sources:
    """Where values come from, in order of preference."""

    def __init__(self, inputs: Mapping[str, object], earlier: Mapping[str, Signature]) -> None:
        self._providers: list[tuple[str, Mapping[str, JsonType]]] = [
            (INPUTS, {name: jsontypes.of_value(value) for name, value in inputs.items()}),
            *((step_id, skill.results) for step_id, skill in earlier.items()),
        ]

    def add(self, step: _Draft) -> None:
        self._providers.append((step.id, step.skill.results))

    def find(self, name: str, wanted: JsonType) -> dict[str, str] | None:
        for source, fields in self._providers:
            if name in fields and jsontypes.fits(fields[name], wanted):
                return reference(source, name)
        return None


def _bind(
    chosen: Sequence[Signature],
    wanted: Sequence[Goal],
    inputs: Mapping[str, object],
    earlier: Mapping[str, Signature],
    explored: int,
) -> PlanDefinition:
    drafts = [_Draft(f"+{i}", skill) for i, skill in enumerate(chosen)]
    sources = _Sources(inputs, earlier)
    for draft in drafts:
        for name, kind in required_params(draft.skill):
            found = sources.find(name, kind)
            assert found is not None, "the search runs only skills whose needs are met"
            draft.params[name] = found
        sources.add(draft)
    targets = {draft.id for draft in drafts if any(draft.skill.name == goal.skill for goal in wanted)}
    kept = _needed(drafts, targets | {value[FROM] for _, value in _outputs(wanted, drafts, earlier, sources)})
    free = (name for number in count(1) if (name := f"s{number}") not in earlier)
    for draft, name in zip(kept, free, strict=False):
        draft.id, old = name, draft.id
        for other in kept:
            other.params = {
                name: reference(draft.id, value["field"]) if value[FROM] == old else value
                for name, value in other.params.items()
            }
    sources = _Sources(inputs, earlier)
    for draft in kept:
        for name, param in optional_params(draft.skill):
            found = sources.find(name, param.type)
            if found is not None:
                draft.params[name] = found
        sources.add(draft)
    order = {step_id: n for n, step_id in enumerate([*earlier, *(d.id for d in kept)])}
    steps = tuple(
        Step(d.id, d.skill.name, dict(d.params), tuple(sorted(d.sources(), key=order.__getitem__))) for d in kept
    )
    output = dict(_outputs(wanted, kept, earlier, sources))
    return PlanDefinition(steps, output, inputs, sum(d.skill.cost for d in kept), explored)


def _outputs(
    wanted: Sequence[Goal], drafts: Sequence[_Draft], earlier: Mapping[str, Signature], sources: _Sources
) -> Iterator[tuple[str, dict[str, str]]]:
    """The source of each goal's field; a field that several goals name is called SKILL.FIELD."""
    by_skill = {draft.skill.name: (draft.id, draft.skill) for draft in drafts}
    by_skill |= {skill.name: (step_id, skill) for step_id, skill in earlier.items()}
    found: list[tuple[Goal, str, dict[str, str]]] = []
    for goal in wanted:
        if goal.skill is None:
            source = sources.find(goal.field or "", jsontypes.ANY)
            assert source is not None, "the search ends only where every goal is met"
            found.append((goal, source["field"], source))
        else:
            step_id, skill = by_skill[goal.skill]
            names = [goal.field] if goal.field else list(skill.results)
            found += [(goal, name, reference(step_id, name)) for name in names]
    times = Counter(name for _, name, _ in found)
    for goal, name, source in found:
        yield f"{goal.skill}.{name}" if goal.skill and times[name] > 1 else name, source


def _needed(drafts: Sequence[_Draft], wanted: set[str]) -> list[_Draft]:
    """The steps that the wanted ones depend on, in order."""
    needed = set(wanted)
    for draft in reversed(drafts):
        if draft.id in needed:
            needed |= draft.sources()
    return [draft for draft in drafts if draft.id in needed]


def _unreachable(
    wanted: Sequence[Goal], inputs: Mapping[str, object], skills: Mapping[str, Signature], problem: SearchProblem
) -> NoPlanError:
    reachable = problem.closure()
    actions = {action.skill.name: action for action in problem.actions}
    missing: dict[str, str] = {}
    unmet = [goal for goal, bits in zip(wanted, problem.wanted, strict=True) if not bits & reachable]
    todo = [
        name
        for goal in unmet
        for name in ([goal.skill] if goal.skill else [n for n, s in skills.items() if goal.field in s.results])
    ]
    seen: set[str] = set()
    while todo:
        name = todo.pop(0)
        if name in seen or name not in actions:
            continue
        seen.add(name)
        needs = zip(required_params(skills[name]), actions[name].needs, strict=True)
        for field_name, kind in [need for need, bits in needs if not bits & reachable]:
            message = f"{jsontypes.shown(kind)}, needed by {name}"
            if field_name in inputs:
                message += f"; given is {jsontypes.shown(jsontypes.of_value(inputs[field_name]))}"
            missing.setdefault(field_name, message)
            todo += sorted(n for n, s in skills.items() if field_name in s.results and n in actions)
    listed = "; ".join(f"{name} ({message})" for name, message in sorted(missing.items()))
    return NoPlanError(
        f"No sequence of skills provides {', '.join(goal.text for goal in unmet)} from the inputs. Missing: {listed}.",
        errors=[FieldError(f"inputs.{name}", message) for name, message in sorted(missing.items())],
        missing=sorted(missing),
        known=sorted(set(inputs) | {name for skill in skills.values() for name in skill.results}),
    )
