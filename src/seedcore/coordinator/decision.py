"""The one decision: what becomes of each task of a batch, and why. Pure: it asks nobody and changes no fleet."""

from collections.abc import Sequence

from seedcore.coordinator.fleet import Fleet
from seedcore.coordinator.schemas import DecisionModel, TaskFacts
from seedcore.energy.routing import route
from seedcore.tasks.model import GOAL


def decide(tasks: Sequence[TaskFacts], fleet: Fleet, *, v: float) -> list[DecisionModel]:
    """Decide for a batch; tasks of one organ are placed together, each assignment counted before the next.

    Args:
        tasks: what is known about each task.
        fleet: who there is and how much waits there.
        v: what one expected failure weighs, in seconds².
    """
    decisions: list[DecisionModel | None] = [None] * len(tasks)
    by_organ: dict[str, list[int]] = {}
    for n, task in enumerate(tasks):
        organ = fleet.organ_of(task.type)
        if task.type == GOAL:
            decisions[n] = DecisionModel(route="plan", rule="goal", reason="a goal names no skill: it needs a plan")
        elif organ is None:
            reason = f"no skill {task.type!r}; known: {', '.join(fleet.skills)}"
            decisions[n] = DecisionModel(route="reject", rule="unknown_skill", reason=reason)
        else:
            by_organ.setdefault(organ, []).append(n)
    for organ, members in by_organ.items():
        for n, decision in zip(members, _place([tasks[n] for n in members], organ, fleet, v), strict=True):
            decisions[n] = decision
    return [decision for decision in decisions if decision is not None]


def _place(tasks: Sequence[TaskFacts], organ: str, fleet: Fleet, v: float) -> list[DecisionModel]:
    agents = fleet.agents_of(organ)
    if not agents:
        nobody = DecisionModel(route=None, rule="no_agent", reason=f"organ {organ!r} has no living agent")
        return [nobody] * len(tasks)
    types = sorted({task.type for task in tasks})
    column = {name: n for n, name in enumerate(types)}
    service = fleet.service_s(agents, types)
    failure = fleet.expected_failure(agents, types)
    placements = route(fleet.queued_s(agents), service, failure, [column[t.type] for t in tasks], v=v)
    return [
        DecisionModel(
            route="fast",
            rule="known_skill",
            reason=f"least energy among {len(agents)} agents of {organ}",
            agent=agents[placement.agent].id,
            host=agents[placement.agent].host,
            delta_energy=placement.delta_energy,
            expected_s=float(service[placement.agent, column[task.type]]),
            timeout_s=fleet.timeout_of(task.type),
        )
        for task, placement in zip(tasks, placements, strict=True)
    ]
