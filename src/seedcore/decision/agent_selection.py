"""Selects agents: which of an organ's agents may get the tasks of a batch, and which of them each task goes to."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from seedcore.decision.backlog import Team
from seedcore.decision.task_costs import TaskCosts
from seedcore.pricing.agent_routers import Load, Placement, Prices, Router, make_router
from seedcore.pricing.potential import Places


@dataclass(slots=True)
class RoutingState:
    """Options of agent selection, and its state from batch to batch.

    Attributes:
        v: seconds² that one expected failure weighs.
        scout_share: share of an organ's tasks that scouts get while other agents are employed, in [0, 1].
        router: name of the router; see `pricing.agent_routers.ROUTERS`.
        exploration_credit: for each organ the part of a task that its scouts are owed from earlier batches.
        routers: the router of each pool, by organ and rule.
        money: failures that one unit of money weighs.
        bytes_per_s: transfer rate of data; None: unknown, and the location of data does not count.
        places_over_limit: tasks so far whose data's location did not count, because a batch had too many locations.
        here: the host that decides, to whose agents no call goes; None: calls go to every agent.
        hop_s: seconds that a call to another host takes beyond the skill's own time.
    """

    v: float
    scout_share: float = 0.0
    router: str = "energy"
    exploration_credit: dict[str, float] = field(default_factory=dict)
    routers: dict[tuple[str, str], Router] = field(default_factory=dict)
    money: float = 1.0
    bytes_per_s: float | None = None
    places_over_limit: int = 0
    here: str | None = None
    hop_s: float = 0.0

    def for_dry_run(self) -> Self:
        """A copy for a decision that is not carried out."""
        return replace(self, exploration_credit=dict(self.exploration_credit), routers={})

    def router_of(self, organ: str, rule: str) -> Router:
        """The router of a pool of agents."""
        known = self.routers.get((organ, rule))
        if known is None:
            known = self.routers[organ, rule] = make_router(self.router)
        return known

    def prune(self, organs: Collection[str]) -> None:
        """Drop the state of organs that are gone; it grows with the organs in force alone."""
        if any(organ not in organs for organ in self.exploration_credit):
            self.exploration_credit = {o: owed for o, owed in self.exploration_credit.items() if o in organs}
        if any(organ not in organs for organ, _ in self.routers):
            self.routers = {pool: router for pool, router in self.routers.items() if pool[0] in organs}


@dataclass(frozen=True, slots=True)
class Selection:
    """For each task its agent (the row in the team) and the energy that it adds there; the rule, and the reason."""

    placements: list[Placement]
    rule: str
    reason: str


def select_agents(team: Team, load: Load, costs: TaskCosts, state: RoutingState, rule: str) -> Selection:
    """Select an agent for each task; the load is updated in place.

    With the `energy` router, scouts are in the same pool as employed agents, as if each had one more task queued: they
    get the tasks that the others are too busy for. Otherwise a young organ would wait for its first few agents.
    """
    mixed = len(team.employed) > 0 and len(team.scouts) > 0
    overflows = mixed and rule == "known_skill" and state.router == "energy"
    pool, rule, reason = _pool(team, rule, costs, state.router, overflows=overflows)
    handicap_s = float(costs.service.mean()) if overflows else 0.0
    load.queued_s[team.scouts] += handicap_s
    pool_load = Load(load.queued_s[pool], load.tasks[pool])
    prices = _prices(team, costs, state, pool)
    placements = state.router_of(team.organ, rule)(pool_load, prices, costs.columns)
    load.queued_s[pool], load.tasks[pool] = pool_load.queued_s, pool_load.tasks
    load.queued_s[team.scouts] -= handicap_s
    rows = pool.tolist()
    if not overflows:
        return Selection([Placement(rows[row], added) for row, added in placements], rule, reason)
    handicaps = np.zeros(len(team))
    handicaps[team.scouts] = handicap_s
    excess = (handicaps[:, None] * costs.service).tolist()
    return Selection(
        [
            Placement(rows[row], added - excess[rows[row]][k])
            for k, (row, added) in zip(costs.columns, placements, strict=True)
        ],
        rule,
        reason,
    )


HOP_COST = 1.0
"""Failures that one second of a call's way to another host weighs, beside the time: both processes work for it."""


def _prices(team: Team, costs: TaskCosts, state: RoutingState, pool: Places) -> Prices:
    """Prices at the agents of a pool; those of other hosts are further away by the measured way there."""
    service, cost = costs.service[pool], costs.cost[pool]
    if state.here is not None and state.hop_s:
        hop = (team.elsewhere(state.here)[pool] * state.hop_s)[:, None]
        service, cost = service + hop, cost + HOP_COST * hop
    return Prices(service, cost, state.v)


_RULES = {"energy": "least energy", "join_shortest_queue": "shortest queue", "power_of_two": "shorter queue of two"}


def _pool(team: Team, rule: str, costs: TaskCosts, router: str, *, overflows: bool) -> tuple[Places, str, str]:
    """Rows of the agents that may get the tasks, the rule and the reason."""
    how = _RULES.get(router, router.replace("_", " "))
    if rule == "exploration":
        return team.scouts, rule, f"{how} among {len(team.scouts)} scouts of {team.organ}"
    if overflows:
        pool = np.sort(np.concatenate([team.employed, team.scouts]))
        return pool, rule, f"{how} among {len(pool)} agents of {team.organ}, {len(team.scouts)} of them scouts"
    if len(team.employed):
        return team.employed, rule, f"{how} among {len(team.employed)} agents of {team.organ}"
    if len(team.scouts):
        return team.scouts, rule, f"{how} among {len(team.scouts)} agents of {team.organ}, all scouts"
    least_bad = int(team.archived[costs.failure[team.archived].mean(axis=1).argmin()])
    reason = f"all {len(team)} agents of {team.organ} are archived: {team.ids[least_bad]} fails least"
    return np.array([least_bad]), "least_bad", reason
