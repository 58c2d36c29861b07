"""The cheapest set of actions that reaches the goal: branch and bound over landmark cuts.

Facts are never removed, so a plan is a set of skills; their order follows. Every plan holds an action of a cut: a state
of the search has actions that are chosen and actions that are ruled out, and its branches choose one action of its
first cut each. A cut of a single action needs no branch, so work without alternatives is found without a search.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

from seedcore.cognitive.engines.offline.landmark_cut import LandmarkCuts
from seedcore.cognitive.engines.offline.search_problem import Action, SearchProblem
from seedcore.errors import DeadlineError, NoPlanError
from seedcore.skills.signatures import Signature

MAX_STATES = 50_000


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """Bounds of the search; `deadline` is on the monotonic clock."""

    max_steps: int = 16
    deadline: float = inf
    max_states: int = MAX_STATES


def cheapest_actions(problem: SearchProblem, bounds: SearchBounds) -> tuple[list[Signature], int]:
    """(the cheapest skills that reach the goal, in an order in which they may run; explored states).

    Among equally cheap sets the result is always the same one.

    Raises:
        NoPlanError: every plan has more steps than allowed, or none is among the first states.
        DeadlineError: the search took too long.
    """
    reachable = problem.closure()
    actions = [action for action in problem.actions if action.possible(reachable)]
    useless = _dominated(actions)
    actions = [action for i, action in enumerate(actions) if i not in useless]
    cuts = LandmarkCuts(problem.start, problem.wanted, actions)
    costs = [action.skill.cost for action in actions]
    number = count()
    # (least cost, what of it is not chosen yet, order, chosen, ruled out, first cut; None: not looked at yet)
    queue: list[tuple[float, float, int, frozenset[int], frozenset[int], tuple[int, ...] | None]] = []
    heapq.heappush(queue, (0.0, 0.0, next(number), frozenset(), frozenset(), None))
    explored = 0
    while queue:
        bound, _, _, chosen, without, cut = heapq.heappop(queue)
        if cut is None:
            explored += 1
            if explored > bounds.max_states:
                raise NoPlanError(
                    f"No plan was found among the first {bounds.max_states} states; name a goal that needs fewer steps."
                )
            if time.monotonic() > bounds.deadline:
                raise DeadlineError(
                    f"No plan was found in time (COGNITIVE_TIMEOUT_S); {explored} states were explored."
                )
            bound, cut, chosen = _look(cuts, costs, chosen, without, bounds.max_steps)
            if bound == inf:
                continue
            if queue and bound > queue[0][0]:
                heapq.heappush(queue, (bound, bound - _cost(costs, chosen), next(number), chosen, without, cut))
                continue
        if not cut:
            return [actions[i].skill for i in _ordered(problem.start, actions, chosen)], explored
        if len(chosen) < bounds.max_steps:
            ruled = without
            for action in cut:
                after = chosen | {action}
                heapq.heappush(queue, (bound, bound - _cost(costs, after), next(number), after, ruled, None))
                ruled |= {action}
    raise NoPlanError(f"The goal needs a plan of more than {bounds.max_steps} steps (MAX_PLAN_STEPS).")


def _look(
    cuts: LandmarkCuts, costs: Sequence[float], chosen: frozenset[int], without: frozenset[int], max_steps: int
) -> tuple[float, tuple[int, ...], frozenset[int]]:
    """(what a plan with `chosen` costs at least, its first cut of several actions, the actions that it must have)."""
    left = list(costs)
    for action in chosen:
        left[action] = 0.0
    for action in without:
        left[action] = inf
    bound, found = cuts.bound(left)
    if bound == inf:
        return inf, (), chosen
    bound += _cost(costs, chosen)
    forced = {cut[0] for cut in found if len(cut) == 1}
    if not forced:
        return bound, min(found, key=len, default=()), chosen
    chosen |= forced
    if len(chosen) > max_steps:
        return inf, (), chosen
    return _look(cuts, costs, chosen, without, max_steps)


def _cost(costs: Sequence[float], chosen: frozenset[int]) -> float:
    return sum(costs[action] for action in sorted(chosen))


def _dominated(actions: Sequence[Action]) -> frozenset[int]:
    """Actions that another one can stand for: it needs no more, adds no less and costs no more; of equal ones the first
    stays."""
    gone: set[int] = set()
    for i, action in reversed(list(enumerate(actions))):
        for j, other in enumerate(actions):
            if i == j or j in gone or other.skill.cost > action.skill.cost or action.adds & ~other.adds:
                continue
            if all(any(mine & ~need == 0 for mine in action.needs) for need in other.needs):
                gone.add(i)
                break
    return frozenset(gone)


def _ordered(start: int, actions: Sequence[Action], chosen: frozenset[int]) -> list[int]:
    """The chosen actions, each after what it needs; the first by name where there is a choice."""
    state, left = start, sorted(chosen)
    order: list[int] = []
    while (action := next((i for i in left if actions[i].possible(state)), None)) is not None:
        left.remove(action)
        order.append(action)
        state |= actions[action].adds
    return order
