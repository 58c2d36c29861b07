"""The one decision: what becomes of each task of a batch, and why. Pure: it asks nobody and changes no fleet."""

from collections.abc import Sequence

from seedcore.coordinator.fleet import Fleet
from seedcore.coordinator.schemas import DecisionColumns, DecisionModel, TaskFacts, Verdict
from seedcore.energy.routing import route
from seedcore.tasks.model import GOAL


def decide(tasks: Sequence[TaskFacts], fleet: Fleet, *, v: float) -> list[DecisionModel]:
    """`decide_columns`, a record for each task."""
    columns = decide_columns([task.type for task in tasks], fleet, v=v)
    shared = [verdict.model_dump() for verdict in columns.verdicts]
    return [
        DecisionModel(**shared[n], delta_energy=added)
        for n, added in zip(columns.verdict, columns.delta_energy, strict=True)
    ]


def decide_columns(types: Sequence[str], fleet: Fleet, *, v: float) -> DecisionColumns:
    """Decide for a batch; tasks of one organ are placed together, each assignment counted before the next.

    Args:
        types: the type of each task.
        fleet: who there is and how much waits there.
        v: what one expected failure weighs, in seconds².
    """
    batch = _Batch(len(types))
    by_organ: dict[str, list[int]] = {}
    for n, task_type in enumerate(types):
        organ = fleet.organ_of(task_type)
        if task_type == GOAL:
            batch.put(n, Verdict(route="plan", rule="goal", reason="a goal names no skill: it needs a plan"))
        elif organ is None:
            reason = f"no skill {task_type!r}; known: {', '.join(fleet.skills)}"
            batch.put(n, Verdict(route="reject", rule="unknown_skill", reason=reason))
        else:
            by_organ.setdefault(organ, []).append(n)
    for organ, members in by_organ.items():
        _place(batch, members, types, organ, fleet, v)
    return DecisionColumns(
        verdicts=list(batch.places),
        verdict=batch.verdict,
        delta_energy=batch.delta_energy,
        fleet_epoch=fleet.epoch,
    )


class _Batch:
    """Decisions in the making: verdicts by their place, and the columns."""

    def __init__(self, size: int) -> None:
        self.places: dict[Verdict, int] = {}
        self.verdict = [0] * size
        self.delta_energy: list[float | None] = [None] * size

    def put(self, n: int, verdict: Verdict) -> None:
        """This becomes of task `n`."""
        self.verdict[n] = self.place(verdict)

    def place(self, verdict: Verdict) -> int:
        """The verdict's place among all."""
        return self.places.setdefault(verdict, len(self.places))


def _place(batch: _Batch, members: Sequence[int], types: Sequence[str], organ: str, fleet: Fleet, v: float) -> None:
    agents = fleet.agents_of(organ)
    if not agents:
        nobody = Verdict(route=None, rule="no_agent", reason=f"organ {organ!r} has no living agent")
        for n in members:
            batch.put(n, nobody)
        return
    names = sorted({types[n] for n in members})
    column = {name: k for k, name in enumerate(names)}
    service = fleet.service_s(agents, names)
    failure = fleet.expected_failure(agents, names)
    columns = [column[types[n]] for n in members]
    placements = route(fleet.queued_s(agents), service, failure, columns, v=v)
    known: dict[tuple[int, int], int] = {}
    for n, k, (agent, added) in zip(members, columns, placements, strict=True):
        place = known.get((agent, k))
        if place is None:
            verdict = Verdict(
                route="fast",
                rule="known_skill",
                reason=f"least energy among {len(agents)} agents of {organ}",
                agent=agents[agent].id,
                host=agents[agent].host,
                expected_s=float(service[agent, k]),
                timeout_s=fleet.timeout_of(names[k]),
            )
            place = known[agent, k] = batch.place(verdict)
        batch.verdict[n] = place
        batch.delta_energy[n] = added
