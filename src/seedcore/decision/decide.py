"""The one decision: what becomes of each task of a batch, and why. Pure: it asks nobody and changes no fleet."""

from collections import Counter
from collections.abc import Sequence

from seedcore.decision.agent_selection import Choices, choose
from seedcore.decision.backlog import Decided, Team
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.rulings import Considered
from seedcore.decision.task_costs import price
from seedcore.pricing.routers import Load
from seedcore.schemas.coordinator import Data, DecisionColumns, DecisionModel, TaskFacts, Verdict
from seedcore.tasks.model import GOAL


def decide(
    tasks: Sequence[TaskFacts], fleet: Fleet, choices: Choices, considered: Considered | None = None
) -> list[DecisionModel]:
    """`decide_columns`, a record for each task."""
    approved, data = [task.approved for task in tasks], [task.data for task in tasks]
    return records(decide_columns([task.type for task in tasks], fleet, choices, considered, approved, data))


def records(columns: DecisionColumns) -> list[DecisionModel]:
    """A record for each task."""
    shared = [verdict.model_dump() for verdict in columns.verdicts]
    return [
        DecisionModel(**shared[n], delta_energy=added)
        for n, added in zip(columns.verdict, columns.delta_energy, strict=True)
    ]


def sent(columns: DecisionColumns) -> Decided:
    """What decisions send to agents."""
    found = Decided([], [], [])
    for n, count in Counter(columns.verdict).items():
        verdict = columns.verdicts[n]
        if verdict.agent is not None:
            found.agents.append(verdict.agent)
            found.tasks.append(count)
            found.seconds.append(count * verdict.expected_s)
    return found


def decide_columns(
    types: Sequence[str],
    fleet: Fleet,
    choices: Choices,
    considered: Considered | None = None,
    approved: Sequence[bool] = (),
    data: Sequence[Data | None] = (),
) -> DecisionColumns:
    """Decide for a batch; tasks of one organ are placed together, each assignment counted before the next.

    Agents that have proved themselves get the tasks, but for the share that goes to scouts, and what `energy` gives
    them because the others are busy (see `choosing`). Archived agents get none, unless all of an organ are: then the
    least bad of them stays in use, and the decision's rule says so.

    Args:
        types: the type of each task.
        fleet: who there is and how much waits there.
        choices: how to choose; what is owed to scouts is kept on in it.
        considered: evidence and rulings by task; a ruling comes first, but nothing runs that no skill can.
        approved: which of them a person released; empty: none.
        data: where the data of each is, and its bytes; empty: none says.
    """
    batch = _Batch(types, data, None if considered is None else considered.evidence)
    rulings = None if considered is None else considered.rulings
    by_organ: dict[str, list[int]] = {}
    for n, task_type in enumerate(types):
        organ = fleet.organ_of(task_type)
        ruling = None if rulings is None else rulings[n]
        if ruling is not None and ruling.route != "fast":
            batch.put(n, Verdict(route=ruling.route, rule=ruling.rule, reason=ruling.reason, hold_s=ruling.hold_s))
        elif task_type == GOAL:
            batch.put(n, Verdict(route="plan", rule="goal", reason="a goal names no skill: it needs a plan"))
        elif organ is None:
            reason = f"no skill {task_type!r}; known: {', '.join(fleet.skills)}"
            batch.put(n, Verdict(route="reject", rule="unknown_skill", reason=reason))
        elif task_type in fleet.approvals and not (approved and approved[n]):
            reason, hold_s = f"{task_type} runs when a person approves it", fleet.approvals[task_type]
            batch.put(n, Verdict(route="hold", rule="skill_approval", reason=reason, hold_s=hold_s))
        else:
            by_organ.setdefault(organ, []).append(n)
    for organ, members in by_organ.items():
        _place(batch, members, organ, fleet, choices)
    return DecisionColumns(
        verdicts=batch.verdicts,
        verdict=batch.verdict,
        delta_energy=batch.delta_energy,
        expected_failure=batch.expected_failure,
        v=choices.v,
        fleet_epoch=fleet.epoch,
    )


class _Batch:
    """Decisions in the making: the different verdicts, and the columns."""

    def __init__(
        self, types: Sequence[str], data: Sequence[Data | None], evidence: Sequence[float | None] | None
    ) -> None:
        size = len(types)
        self._types, self._data, self.evidence = types, data, evidence
        self.verdicts: list[Verdict] = []
        self.verdict = [0] * size
        self.delta_energy: list[float | None] = [None] * size
        self.expected_failure: list[float | None] = [None] * size
        self._places: dict[Verdict, int] = {}

    def kind(self, n: int) -> tuple[str, Data | None]:
        """Type of task `n`, and where its data is."""
        return self._types[n], self._data[n] if self._data else None

    def put(self, n: int, verdict: Verdict) -> None:
        """This becomes of task `n`, and maybe of others."""
        known = None if self.evidence is None else self.evidence[n]
        if known is not None:
            verdict = verdict.model_copy(update={"evidence": known})
        place = self._places.get(verdict)
        if place is None:
            place = self._places[verdict] = self.add(verdict)
        self.verdict[n] = place

    def add(self, verdict: Verdict) -> int:
        """The place of a verdict that is not there yet."""
        self.verdicts.append(verdict)
        return len(self.verdicts) - 1


def _place(batch: _Batch, members: Sequence[int], organ: str, fleet: Fleet, choices: Choices) -> None:
    team = fleet.team(organ)
    if team is None:
        nobody = Verdict(route=None, rule="no_agent", reason=f"organ {organ!r} has no living agent")
        for n in members:
            batch.put(n, nobody)
        return
    known: Sequence[int] = members
    explore: Sequence[int] = ()
    if len(team.employed) and len(team.scouts):
        known, explore = _deal(members, choices.explored, organ, choices.scout_share)
    load = fleet.load(team)
    for chosen, rule in ((known, "known_skill"), (explore, "exploration")):
        if chosen:
            _route(batch, chosen, fleet, team, load, choices, rule)


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
    batch: _Batch, members: Sequence[int], fleet: Fleet, team: Team, load: Load, choices: Choices, rule: str
) -> None:
    priced = price([batch.kind(n) for n in members], fleet, team, choices.money, choices.bytes_per_s)
    choices.uncounted += priced.uncounted
    chosen = choose(team, load, priced, choices, rule)
    seconds, fails = priced.service.tolist(), priced.failure.tolist()
    timeouts = [fleet.timeout_of(name) for name in priced.names]
    known: dict[tuple[int, int, float | None], tuple[int, float]] = {}
    # Kinds that take an agent equally long share a verdict: found by what differs, for a verdict's own hash is slow.
    equal: dict[tuple[int, float, float | None, float | None], int] = {}
    for n, k, (agent, added) in zip(members, priced.columns, chosen.placements, strict=True):
        evidence = None if batch.evidence is None else batch.evidence[n]
        place = known.get((agent, k, evidence))
        if place is None:
            what = agent, seconds[agent][k], timeouts[k], evidence
            if what not in equal:
                verdict = Verdict(
                    route="fast",
                    rule=chosen.rule,
                    reason=chosen.reason,
                    agent=team.ids[agent],
                    host=team.hosts[team.host[agent]],
                    evidence=evidence,
                    expected_s=what[1],
                    timeout_s=what[2],
                )
                equal[what] = batch.add(verdict)
            place = known[agent, k, evidence] = equal[what], fails[agent][k]
        batch.verdict[n], batch.expected_failure[n] = place
        batch.delta_energy[n] = added
