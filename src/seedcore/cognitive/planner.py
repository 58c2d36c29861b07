"""Finding the cheapest plan by uniform-cost search, forward from the inputs, over what leads to the goal at all."""

import heapq
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from seedcore.cognitive import goals, search_problem
from seedcore.cognitive.goals import Goal
from seedcore.cognitive.search_problem import Problem
from seedcore.errors import DeadlineError, FieldError, InvalidInputError, NoPlanError
from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.plan import FROM, INPUTS, PlanDefinition, Step, reference

MAX_STATES = 50_000
_LOOK_EVERY = 256


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the search may go; `deadline` is on the monotonic clock."""

    max_steps: int = 16
    deadline: float = float("inf")
    max_states: int = MAX_STATES


def find_plan(
    goal: str | Sequence[str],
    inputs: Mapping[str, Any],
    skills: Mapping[str, Signature],
    bounds: Bounds | None = None,
    llm: str = "none",
    *,
    without: Collection[str] = (),
    done: Mapping[str, str] | None = None,
) -> PlanDefinition:
    """The cheapest plan that reaches `goal` from `inputs`; among equals always the same one.

    A param takes the value of the same name and fitting type: from the inputs when they have it, else from the
    earliest step that gives it. Optional params are bound when something in the plan gives them.

    Args:
        goal: what is wanted.
        inputs: what is there to begin with.
        skills: what can be run.
        bounds: how far to look.
        llm: who reads goals in free text.
        without: skills not to run, because they failed.
        done: skills of earlier steps that completed, by the step's id: a plan takes from them and does not repeat
            them. When they give all of the goal, it has no steps.

    Raises:
        NoPlanError: no sequence of skills reaches the goal; the detail says what is missing.
        InvalidInputError: the inputs hold all of the goal already.
        DeadlineError: the search took too long.
    """
    bounds = bounds or Bounds()
    wanted = goals.parse(goal, inputs, skills, llm)
    earlier = {step_id: skills[name] for step_id, name in (done or {}).items()}
    usable = {name: skill for name, skill in skills.items() if name not in without}
    task = search_problem.build(wanted, inputs, usable, earlier.values())
    if not task.reached(task.closure()):
        raise _unreachable(wanted, inputs, usable, task)
    if task.reached(task.start) and not earlier:
        raise InvalidInputError(
            "The inputs hold all of the goal already.", errors=[FieldError("goal", "is among the inputs already")]
        )
    chosen, explored = _search(task, bounds)
    return _bound(chosen, wanted, inputs, earlier, explored)


def _search(task: Problem, bounds: Bounds) -> tuple[list[Signature], int]:
    """The cheapest sequence of skills, and how many states were looked at."""
    queue: list[tuple[float, tuple[int, ...], int]] = [(0.0, (), task.start)]
    cheapest = {task.start: 0.0}
    explored = 0
    while queue:
        cost, path, state = heapq.heappop(queue)
        if cost > cheapest[state]:
            continue
        explored += 1
        if task.reached(state):
            return [task.actions[i].skill for i in path], explored
        if explored >= bounds.max_states:
            raise NoPlanError(f"No plan was found among the first {explored} states; name a goal that is nearer.")
        if explored % _LOOK_EVERY == 1 and time.monotonic() > bounds.deadline:
            raise DeadlineError(f"No plan was found in time (COGNITIVE_TIMEOUT_S); {explored} states were looked at.")
        if len(path) >= bounds.max_steps:
            continue
        for i, action in enumerate(task.actions):
            after = state | action.adds
            if after != state and action.possible(state):
                paid = cost + action.skill.cost
                if paid < cheapest.get(after, float("inf")):
                    cheapest[after] = paid
                    heapq.heappush(queue, (paid, (*path, i), after))
    raise NoPlanError(f"The goal needs a plan of more than {bounds.max_steps} steps (MAX_PLAN_STEPS).")


@dataclass(slots=True)
class _Draft:
    id: str
    skill: Signature
    params: dict[str, dict[str, str]] = field(default_factory=dict)

    def sources(self) -> set[str]:
        return {value[FROM] for value in self.params.values()} - {INPUTS}


class _Sources:
    """Who gives what, in the order of preference."""

    def __init__(self, inputs: Mapping[str, Any], earlier: Mapping[str, Signature]) -> None:
        self._given: list[tuple[str, Mapping[str, JsonType]]] = [
            (INPUTS, {name: jsontypes.of_value(value) for name, value in inputs.items()}),
            *((step_id, skill.results) for step_id, skill in earlier.items()),
        ]

    def add(self, step: _Draft) -> None:
        self._given.append((step.id, step.skill.results))

    def find(self, name: str, wanted: JsonType) -> dict[str, str] | None:
        for source, fields in self._given:
            if name in fields and jsontypes.fits(fields[name], wanted):
                return reference(source, name)
        return None


def _bound(
    chosen: Sequence[Signature],
    wanted: Sequence[Goal],
    inputs: Mapping[str, Any],
    earlier: Mapping[str, Signature],
    explored: int,
) -> PlanDefinition:
    drafts = [_Draft(f"+{i}", skill) for i, skill in enumerate(chosen)]
    sources = _Sources(inputs, earlier)
    for draft in drafts:
        for name, kind in search_problem.required(draft.skill):
            found = sources.find(name, kind)
            assert found is not None, "the search runs no skill whose needs are not met"
            draft.params[name] = found
        sources.add(draft)
    asked = {draft.id for draft in drafts if any(draft.skill.name == goal.skill for goal in wanted)}
    kept = _needed(drafts, asked | {value[FROM] for _, value in _outputs(wanted, drafts, earlier, sources)})
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
        for name, param in search_problem.optional(draft.skill):
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
    """Where each wanted field comes from; a skill's field that another goal wants too is called SKILL.FIELD."""
    by_skill = {draft.skill.name: (draft.id, draft.skill) for draft in drafts}
    by_skill |= {skill.name: (step_id, skill) for step_id, skill in earlier.items()}
    found: list[tuple[Goal, str, dict[str, str]]] = []
    for goal in wanted:
        if goal.skill is None:
            source = sources.find(goal.field or "", jsontypes.ANY)
            assert source is not None, "the search ends where all that is wanted is there"
            found.append((goal, source["field"], source))
        else:
            step_id, skill = by_skill[goal.skill]
            names = [goal.field] if goal.field else list(skill.results)
            found += [(goal, name, reference(step_id, name)) for name in names]
    times = Counter(name for _, name, _ in found)
    for goal, name, source in found:
        yield f"{goal.skill}.{name}" if goal.skill and times[name] > 1 else name, source


def _needed(drafts: Sequence[_Draft], wanted: set[str]) -> list[_Draft]:
    """The steps that the wanted ones rest on, in order."""
    needed = set(wanted)
    for draft in reversed(drafts):
        if draft.id in needed:
            needed |= draft.sources()
    return [draft for draft in drafts if draft.id in needed]


def _unreachable(
    wanted: Sequence[Goal], inputs: Mapping[str, Any], skills: Mapping[str, Signature], task: Problem
) -> NoPlanError:
    reachable = task.closure()
    actions = {action.skill.name: action for action in task.actions}
    missing: dict[str, str] = {}
    unmet = [goal for goal, bits in zip(wanted, task.wanted, strict=True) if not bits & reachable]
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
        needs = zip(search_problem.required(skills[name]), actions[name].needs, strict=True)
        for field_name, kind in [need for need, bits in needs if not bits & reachable]:
            message = f"{jsontypes.shown(kind)}, needed by {name}"
            if field_name in inputs:
                message += f"; given is {jsontypes.shown(jsontypes.of_value(inputs[field_name]))}"
            missing.setdefault(field_name, message)
            todo += sorted(n for n, s in skills.items() if field_name in s.results and n in actions)
    listed = "; ".join(f"{name} ({message})" for name, message in sorted(missing.items()))
    return NoPlanError(
        f"No sequence of skills gives {', '.join(goal.text for goal in unmet)} from these inputs. Missing: {listed}.",
        errors=[FieldError(f"inputs.{name}", message) for name, message in sorted(missing.items())],
        missing=sorted(missing),
        known=sorted(set(inputs) | {name for skill in skills.values() for name in skill.results}),
    )
