"""Finding the cheapest plan by uniform-cost search, forward from the inputs, over what leads to the goal at all."""

import heapq
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedcore.cognitive import goals, jsontypes, problem
from seedcore.cognitive.goals import Goal
from seedcore.cognitive.jsontypes import JsonType
from seedcore.cognitive.plan import FROM, INPUTS, Plan, Step, reference
from seedcore.cognitive.problem import Problem
from seedcore.cognitive.signatures import Signature
from seedcore.errors import DeadlineError, FieldError, InvalidInputError, NoPlanError

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
) -> Plan:
    """The cheapest plan that reaches `goal` from `inputs`; among equals always the same one.

    A param takes the value of the same name and fitting type: from the inputs when they have it, else from the
    earliest step that gives it. Optional params are bound when something in the plan gives them.

    Raises:
        NoPlanError: no sequence of skills reaches the goal; the detail says what is missing.
        InvalidInputError: the inputs hold all of the goal already.
        DeadlineError: the search took too long.
    """
    bounds = bounds or Bounds()
    wanted = goals.parse(goal, inputs, skills, llm)
    task = problem.build(wanted, inputs, skills)
    if not task.reached(task.closure()):
        raise _unreachable(wanted, inputs, skills, task)
    if task.reached(task.start):
        raise InvalidInputError(
            "The inputs hold all of the goal already.", errors=[FieldError("goal", "is among the inputs already")]
        )
    chosen, explored = _search(task, bounds)
    return _bound(chosen, wanted, inputs, explored)


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

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._given: list[tuple[str, Mapping[str, JsonType]]] = [
            (INPUTS, {name: jsontypes.of_value(value) for name, value in inputs.items()})
        ]

    def add(self, step: _Draft) -> None:
        self._given.append((step.id, step.skill.results))

    def find(self, name: str, wanted: JsonType) -> dict[str, str] | None:
        for source, fields in self._given:
            if name in fields and jsontypes.fits(fields[name], wanted):
                return reference(source, name)
        return None


def _bound(chosen: Sequence[Signature], wanted: Sequence[Goal], inputs: Mapping[str, Any], explored: int) -> Plan:
    drafts = [_Draft(str(i), skill) for i, skill in enumerate(chosen)]
    sources = _Sources(inputs)
    for draft in drafts:
        for name, kind in problem.required(draft.skill):
            found = sources.find(name, kind)
            assert found is not None, "the search runs no skill whose needs are not met"
            draft.params[name] = found
        sources.add(draft)
    asked = {draft.id for draft in drafts if any(draft.skill.name == goal.skill for goal in wanted)}
    kept = _needed(drafts, asked | {value[FROM] for _, value in _outputs(wanted, drafts, sources)})
    for number, draft in enumerate(kept, 1):
        draft.id, old = f"s{number}", draft.id
        for other in kept:
            other.params = {
                name: reference(draft.id, value["field"]) if value[FROM] == old else value
                for name, value in other.params.items()
            }
    sources = _Sources(inputs)
    for draft in kept:
        for name, param in problem.optional(draft.skill):
            found = sources.find(name, param.type)
            if found is not None:
                draft.params[name] = found
        sources.add(draft)
    steps = tuple(Step(d.id, d.skill.name, dict(d.params), tuple(sorted(d.sources(), key=_number))) for d in kept)
    output = dict(_outputs(wanted, kept, sources))
    return Plan(steps, output, inputs, sum(d.skill.cost for d in kept), explored)


def _number(step_id: str) -> int:
    return int(step_id.removeprefix("s"))


def _outputs(
    wanted: Sequence[Goal], drafts: Sequence[_Draft], sources: _Sources
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each wanted field comes from; a skill's field that another goal wants too is called SKILL.FIELD."""
    by_skill = {draft.skill.name: draft for draft in drafts}
    found: list[tuple[Goal, str, dict[str, str]]] = []
    for goal in wanted:
        if goal.skill is None:
            source = sources.find(goal.field or "", jsontypes.ANY)
            assert source is not None, "the search ends where all that is wanted is there"
            found.append((goal, source["field"], source))
        else:
            draft = by_skill[goal.skill]
            names = [goal.field] if goal.field else list(draft.skill.results)
            found += [(goal, name, reference(draft.id, name)) for name in names]
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
        if name in seen:
            continue
        seen.add(name)
        needs = zip(problem.required(skills[name]), actions[name].needs, strict=True)
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
