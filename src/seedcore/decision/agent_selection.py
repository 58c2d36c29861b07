"""Which agents of a team may get the tasks of a batch, and which of them each goes to."""

from dataclasses import dataclass, field, replace

import numpy as np

from seedcore.decision.backlog import Team
from seedcore.decision.task_costs import Priced
from seedcore.pricing.potential import Places
from seedcore.pricing.routers import Load, Placement, Prices, Router, make_router


@dataclass(slots=True)
class Choices:
    """How decisions are made, and what goes on from batch to batch.

    Attributes:
        v: what one expected failure weighs, in seconds².
        scout_share: share of an organ's tasks that scouts get while others are employed, in [0, 1].
        router: who chooses the agent; see `pricing.routers.ROUTERS`.
        explored: for each organ the part of a task that its scouts are owed from earlier batches.
        routers: for each pool the router that serves it.
        money: failures that one unit of money weighs.
        bytes_per_s: how fast data comes to where it is not; None: nobody knows, and where data is does not count.
        uncounted: tasks so far for which it did not count, because a batch had too many places.
    """

    v: float
    scout_share: float = 0.0
    router: str = "energy"
    explored: dict[str, float] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)
    money: float = 1.0
    bytes_per_s: float | None = None
    uncounted: int = 0

    def dry(self) -> "Choices":
        """The same, for a decision that nobody acts on."""
        return replace(self, explored=dict(self.explored), routers={})

    def router_of(self, pool: str) -> Router:
        """The router of a pool of agents."""
        known = self.routers.get(pool)
        if known is None:
            known = self.routers[pool] = make_router(self.router)
        return known


@dataclass(frozen=True, slots=True)
class Chosen:
    """For each task the agent (its row in the team) and what it adds there; the rule, and the reason."""

    placements: list[Placement]
    rule: str
    reason: str


def choose(team: Team, load: Load, priced: Priced, choices: Choices, rule: str) -> Chosen:
    """An agent for each task; the load is counted on.

    With `energy`, scouts are in the pool of those who have proved themselves, as if each had one task more in hand: so
    they get what the others are too busy for. Else a young organ would wait for its first few.
    """
    mixed = len(team.employed) > 0 and len(team.scouts) > 0
    overflows = mixed and rule == "known_skill" and choices.router == "energy"
    pool, rule, reason = _pool(team, rule, priced, choices.router, overflows=overflows)
    behind = float(priced.service.mean()) if overflows else 0.0
    load.queued_s[team.scouts] += behind
    here = Load(load.queued_s[pool], load.tasks[pool])
    prices = Prices(priced.service[pool], priced.cost[pool], choices.v)
    placements = choices.router_of(f"{team.organ} {rule}")(here, prices, priced.columns)
    load.queued_s[pool], load.tasks[pool] = here.queued_s, here.tasks
    load.queued_s[team.scouts] -= behind
    rows = pool.tolist()
    if not overflows:
        return Chosen([Placement(rows[row], added) for row, added in placements], rule, reason)
    ahead = np.zeros(len(team))
    ahead[team.scouts] = behind
    less = (ahead[:, None] * priced.service).tolist()
    return Chosen(
        [
            Placement(rows[row], added - less[rows[row]][k])
            for k, (row, added) in zip(priced.columns, placements, strict=True)
        ],
        rule,
        reason,
    )


_RULES = {"energy": "least energy", "join_shortest_queue": "shortest queue", "power_of_two": "shorter queue of two"}


def _pool(team: Team, rule: str, priced: Priced, router: str, *, overflows: bool) -> tuple[Places, str, str]:
    """Rows of those who may get the tasks, the rule and the reason."""
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
    least_bad = int(team.archived[priced.failure[team.archived].mean(axis=1).argmin()])
    reason = f"all {len(team)} agents of {team.organ} are archived: {team.ids[least_bad]} fails least"
    return np.array([least_bad]), "least_bad", reason
