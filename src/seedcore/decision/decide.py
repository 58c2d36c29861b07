"""The one decision: what becomes of each task of a batch, and why. Pure: no I/O, and the fleet is not changed."""

from collections.abc import Sequence
from dataclasses import replace

from seedcore.decision.agent_selection import RoutingState, select_agents
from seedcore.decision.backlog import Team
from seedcore.decision.batch import GOAL, BatchDecision, Data, TaskBatch, Verdict
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.rulings import PolicyContext, apply_policy
from seedcore.decision.task_costs import task_costs
from seedcore.pricing.agent_routers import Load


def decide(tasks: TaskBatch, fleet: Fleet, state: RoutingState, context: PolicyContext | None = None) -> BatchDecision:
    """Decide for a batch; tasks of one organ are placed together, each assignment counted before the next.

    A ruling of the policy comes first, but nothing runs without a skill. Employed agents get the tasks, except for the
    share of the scouts and the overflow (see `agent_selection`). Archived agents get none unless all agents of an organ
    are archived: then the least bad of them stays in use, and the decision's rule says so.

    Args:
        tasks: facts about the tasks.
        fleet: the agents, what they have learned, and their backlog.
        state: how agents are selected; what scouts are owed is carried over in it.
        context: the policy, and what it is applied with; None: no policy.

    Raises:
        ValueError: the columns of `tasks` differ in length.
    """
    state.prune(fleet.organs)
    rulings = None if context is None else apply_policy(tasks, fleet, context)
    batch = _Decisions(tasks, None if rulings is None else rulings.evidence)
    by_organ: dict[str, list[int]] = {}
    for n, (task_type, approved) in enumerate(zip(tasks.type, tasks.approved, strict=True)):
        organ = fleet.organ_of(task_type)
        ruling = None if rulings is None else rulings.rulings[n]
        if ruling is not None and ruling.route != "fast":
            batch.put(n, Verdict(ruling.route, ruling.rule, ruling.reason, hold_s=ruling.hold_s))
        elif task_type == GOAL:
            batch.put(n, Verdict("plan", "goal", "a goal names no skill: it needs a plan"))
        elif organ is None:
            reason = f"no skill {task_type!r}; known: {', '.join(fleet.skills)}"
            batch.put(n, Verdict("reject", "unknown_skill", reason))
        elif task_type in fleet.approvals and not approved:
            reason = f"{task_type} runs when a person approves it"
            batch.put(n, Verdict("hold", "skill_approval", reason, hold_s=fleet.approvals[task_type]))
        else:
            by_organ.setdefault(organ, []).append(n)
    for organ, members in by_organ.items():
        _place(batch, members, organ, fleet, state)
    return BatchDecision(
        batch.verdicts, batch.verdict, batch.delta_energy, batch.expected_failure, state.v, fleet.epoch
    )


class _Decisions:
    """Builds the columns of a `BatchDecision`."""

    def __init__(self, tasks: TaskBatch, evidence: Sequence[float | None] | None) -> None:
        size = len(tasks)
        self._types, self._data, self.evidence = tasks.type, tasks.data, evidence
        self.verdicts: list[Verdict] = []
        self.verdict = [0] * size
        self.delta_energy: list[float | None] = [None] * size
        self.expected_failure: list[float | None] = [None] * size
        self._indexes: dict[Verdict, int] = {}

    def kind(self, n: int) -> tuple[str, Data | None]:
        """Type of task `n`, and where its data is."""
        return self._types[n], self._data[n]

    def put(self, n: int, verdict: Verdict) -> None:
        """Set the verdict of task `n`, which other tasks may share."""
        evidence = None if self.evidence is None else self.evidence[n]
        if evidence is not None:
            verdict = replace(verdict, evidence=evidence)
        index = self._indexes.get(verdict)
        if index is None:
            index = self._indexes[verdict] = self.add(verdict)
        self.verdict[n] = index

    def add(self, verdict: Verdict) -> int:
        """Add a new verdict; returns its index."""
        self.verdicts.append(verdict)
        return len(self.verdicts) - 1


def _place(batch: _Decisions, members: Sequence[int], organ: str, fleet: Fleet, state: RoutingState) -> None:
    team = fleet.team(organ)
    if team is None:
        no_agent = Verdict(None, "no_agent", f"organ {organ!r} has no living agent")
        for n in members:
            batch.put(n, no_agent)
        return
    known: Sequence[int] = members
    explore: Sequence[int] = ()
    if len(team.employed) and len(team.scouts):
        known, explore = _split_exploration(members, state.exploration_credit, organ, state.scout_share)
    load = fleet.load(team)
    for part, rule in ((known, "known_skill"), (explore, "exploration")):
        if part:
            _route(batch, part, fleet, team, load, state, rule)


def _split_exploration(
    members: Sequence[int], credit: dict[str, float], organ: str, share: float
) -> tuple[list[int], list[int]]:
    """Tasks for employed agents, and for scouts: every 1/share-th task, counted from batch to batch."""
    owed = credit.get(organ, 0.0)
    known: list[int] = []
    explore: list[int] = []
    for n in members:
        owed += share
        if owed >= 1.0:
            owed -= 1.0
            explore.append(n)
        else:
            known.append(n)
    credit[organ] = owed
    return known, explore


def _route(
    batch: _Decisions, members: Sequence[int], fleet: Fleet, team: Team, load: Load, state: RoutingState, rule: str
) -> None:
    costs = task_costs([batch.kind(n) for n in members], fleet, team, state.money, state.bytes_per_s)
    state.places_over_limit += costs.places_over_limit
    selection = select_agents(team, load, costs, state, rule)
    seconds, fails = costs.service.tolist(), costs.failure.tolist()
    timeouts = [fleet.timeout_of(name) for name in costs.types]
    known: dict[tuple[int, int, float | None], tuple[int, float]] = {}
    # Kinds that take an agent equally long share a verdict: found by the fields that differ, for hashing all is slow.
    equal: dict[tuple[int, float, float | None, float | None], int] = {}
    for n, k, (agent, added) in zip(members, costs.columns, selection.placements, strict=True):
        evidence = None if batch.evidence is None else batch.evidence[n]
        found = known.get((agent, k, evidence))
        if found is None:
            key = agent, seconds[agent][k], timeouts[k], evidence
            if key not in equal:
                verdict = Verdict(
                    route="fast",
                    rule=selection.rule,
                    reason=selection.reason,
                    agent=team.ids[agent],
                    host=team.hosts[team.host[agent]],
                    evidence=evidence,
                    expected_s=key[1],
                    timeout_s=key[2],
                )
                equal[key] = batch.add(verdict)
            found = known[agent, k, evidence] = equal[key], fails[agent][k]
        batch.verdict[n], batch.expected_failure[n] = found
        batch.delta_energy[n] = added
