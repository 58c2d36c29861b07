"""The one decision: what becomes of each task of a batch, and why. Pure: it asks nobody and changes no fleet."""

from collections.abc import Sequence

import numpy as np

from seedcore.coordinator.fleet import Fleet, Team
from seedcore.coordinator.schemas import DecisionColumns, DecisionModel, TaskFacts, Verdict
from seedcore.energy.routing import route
from seedcore.tasks.model import GOAL


def decide(
    tasks: Sequence[TaskFacts],
    fleet: Fleet,
    *,
    v: float,
    scout_share: float = 0.0,
    explored: dict[str, float] | None = None,
) -> list[DecisionModel]:
    """`decide_columns`, a record for each task."""
    types = [task.type for task in tasks]
    columns = decide_columns(types, fleet, v=v, scout_share=scout_share, explored=explored)
    shared = [verdict.model_dump() for verdict in columns.verdicts]
    return [
        DecisionModel(**shared[n], delta_energy=added)
        for n, added in zip(columns.verdict, columns.delta_energy, strict=True)
    ]


def decide_columns(
    types: Sequence[str],
    fleet: Fleet,
    *,
    v: float,
    scout_share: float = 0.0,
    explored: dict[str, float] | None = None,
) -> DecisionColumns:
    """Decide for a batch; tasks of one organ are placed together, each assignment counted before the next.

    Agents that have proved themselves get the tasks, but for the share that goes to scouts. Archived agents get none,
    unless all of an organ are: then the least bad of them stays in use, and the decision's rule says so.

    Args:
        types: the type of each task.
        fleet: who there is and how much waits there.
        v: what one expected failure weighs, in seconds².
        scout_share: share of an organ's tasks that scouts get while others are employed, in [0, 1].
        explored: for each organ the part of a task that its scouts are owed from earlier batches; kept on. None: this
            batch stands for itself.
    """
    batch = _Batch(len(types), {} if explored is None else explored)
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
        _place(batch, members, types, organ, fleet, v, scout_share)
    return DecisionColumns(
        verdicts=list(batch.places),
        verdict=batch.verdict,
        delta_energy=batch.delta_energy,
        fleet_epoch=fleet.epoch,
    )


class _Batch:
    """Decisions in the making: verdicts by their place, and the columns."""

    def __init__(self, size: int, explored: dict[str, float]) -> None:
        self.explored = explored
        self.places: dict[Verdict, int] = {}
        self.verdict = [0] * size
        self.delta_energy: list[float | None] = [None] * size

    def put(self, n: int, verdict: Verdict) -> None:
        """This becomes of task `n`."""
        self.verdict[n] = self.place(verdict)

    def place(self, verdict: Verdict) -> int:
        """The verdict's place among all."""
        return self.places.setdefault(verdict, len(self.places))


def _place(
    batch: _Batch, members: Sequence[int], types: Sequence[str], organ: str, fleet: Fleet, v: float, scout_share: float
) -> None:
    team = fleet.team(organ)
    if team is None:
        nobody = Verdict(route=None, rule="no_agent", reason=f"organ {organ!r} has no living agent")
        for n in members:
            batch.put(n, nobody)
        return
    known: Sequence[int] = members
    explore: Sequence[int] = ()
    if len(team.employed) and len(team.scouts):
        known, explore = _deal(members, batch.explored, organ, scout_share)
    for chosen, rule in ((known, "known_skill"), (explore, "exploration")):
        if chosen:
            _route(batch, chosen, types, fleet, team, v, rule)


def _deal(members: Sequence[int], explored: dict[str, float], organ: str, share: float) -> tuple[list[int], list[int]]:
    """Tasks for those who have proved themselves, and for scouts: every 1/share-th, counted on from batch to batch."""
    owed = explored.get(organ, 0.0)
    known: list[int] = []
    explore: list[int] = []
    for n in members:
        owed += share
        if owed >= 1.0:
            owed -= 1.0
            explore.append(n)
        else:
            known.append(n)
    explored[organ] = owed
    return known, explore


def _route(
    batch: _Batch,
    members: Sequence[int],
    types: Sequence[str],
    fleet: Fleet,
    team: Team,
    v: float,
    rule: str,
) -> None:
    names = sorted({types[n] for n in members})
    column = {name: k for k, name in enumerate(names)}
    service = fleet.service_s(team, names)
    failure = fleet.expected_failure(team, names)
    if rule == "exploration":
        pool, reason = team.scouts, f"least energy among {len(team.scouts)} scouts of {team.organ}"
    elif len(team.employed):
        pool, reason = team.employed, f"least energy among {len(team.employed)} agents of {team.organ}"
    elif len(team.scouts):
        pool, reason = team.scouts, f"least energy among {len(team.scouts)} agents of {team.organ}, all scouts"
    else:
        least_bad = int(team.archived[failure[team.archived].mean(axis=1).argmin()])
        pool, rule = np.array([least_bad]), "least_bad"
        reason = f"all {len(team)} agents of {team.organ} are archived: {team.ids[least_bad]} fails least"
    columns = [column[types[n]] for n in members]
    placements = route(fleet.queued_s(team)[pool], service[pool], failure[pool], columns, v=v)
    known: dict[tuple[int, int], int] = {}
    for n, k, (row, added) in zip(members, columns, placements, strict=True):
        place = known.get((row, k))
        if place is None:
            agent = int(pool[row])
            verdict = Verdict(
                route="fast",
                rule=rule,
                reason=reason,
                agent=team.ids[agent],
                host=team.hosts[team.host[agent]],
                expected_s=float(service[agent, k]),
                timeout_s=fleet.timeout_of(names[k]),
            )
            place = known[row, k] = batch.place(verdict)
        batch.verdict[n] = place
        batch.delta_energy[n] = added
