"""Computes what the tasks of a batch take, and cost, at each agent of a team."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from seedcore.decision.backlog import Team
from seedcore.decision.batch import Data
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.potential import Floats

MAX_PLACES = 64
"""Kinds of tasks of one organ in one batch before the location of further data no longer counts."""

Kind = tuple[str, Data | None]
"""A task's type, and where its data is."""


@dataclass(frozen=True, slots=True)
class TaskCosts:
    """k kinds of tasks at n agents.

    Attributes:
        columns: for each task the index of its kind.
        types: for each kind its type.
        service: shape (n, k), expected seconds, including the transfer of the data.
        failure: shape (n, k), expected share of failures.
        cost: shape (n, k), `failure` plus the weighed money, in failures.
        places_over_limit: tasks whose data's location does not count, because there were too many locations.
    """

    columns: list[int]
    types: list[str]
    service: Floats
    failure: Floats
    cost: Floats
    places_over_limit: int


def task_costs(tasks: Sequence[Kind], fleet: Fleet, team: Team, money: float, bytes_per_s: float | None) -> TaskCosts:
    """Costs of tasks by type and location of their data.

    Args:
        tasks: type and data of each.
        fleet: the learned rates of its agents.
        team: the agents.
        money: failures that one unit of money weighs.
        bytes_per_s: transfer rate of data; None: its location does not count.
    """
    kinds: dict[Kind, int] = {}
    columns, over_limit = [], 0
    for name, data in tasks:
        kind = name, None if data is None or bytes_per_s is None else (data[0], _rounded(data[1]))
        if kind not in kinds and kind[1] is not None and len(kinds) >= MAX_PLACES:
            kind = name, None
            over_limit += 1
        columns.append(kinds.setdefault(kind, len(kinds)))
    types = sorted({name for name, _ in kinds})
    seconds, failures = fleet.means(team, types)
    of_type = {name: n for n, name in enumerate(types)}
    where = [of_type[name] for name, _ in kinds]
    service, failure = seconds[:, where], failures[:, where]
    if bytes_per_s is not None:
        for column, (_, data) in enumerate(kinds):
            if data is not None:
                service[:, column] += team.away(data[0]) * (data[1] / bytes_per_s)
    spent = fleet.money(team, types)
    cost = failure if spent is None or not money else failure + money * spent[:, where]
    return TaskCosts(columns, [name for name, _ in kinds], service, failure, cost, over_limit)


def _rounded(size: float) -> float:
    """Round up to a power of two: similar sizes are one kind."""
    return 2.0 ** ceil(log2(max(size, 1.0)))
