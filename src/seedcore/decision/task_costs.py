"""What the tasks of a batch take, and cost, at each agent of a team."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from seedcore.decision.backlog import Team
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.potential import Floats
from seedcore.schemas.coordinator import Data

MOST_PLACES = 64
"""Kinds of tasks, of one organ in one batch, that differ in where their data is; for more it does not count."""

Kind = tuple[str, Data | None]


@dataclass(frozen=True, slots=True)
class Priced:
    """k kinds of tasks at n agents.

    Attributes:
        columns: for each task its kind.
        names: for each kind its type.
        service: shape (n, k), expected seconds, those among them until the data is there.
        failure: shape (n, k), expected share of failures.
        cost: shape (n, k), the same and what the money weighs, in failures.
        uncounted: tasks of which it does not count where their data is: there were too many places.
    """

    columns: list[int]
    names: list[str]
    service: Floats
    failure: Floats
    cost: Floats
    uncounted: int


def price(
    tasks: Sequence[tuple[str, Data | None]], fleet: Fleet, team: Team, money: float, bytes_per_s: float | None
) -> Priced:
    """Prices of tasks by type and place of their data.

    Args:
        tasks: type and data of each.
        fleet: what its agents have learned.
        team: the agents.
        money: failures that one unit of money weighs.
        bytes_per_s: how fast data comes to where it is not; None: where it is does not count.
    """
    kinds: dict[Kind, int] = {}
    columns, uncounted = [], 0
    for name, data in tasks:
        kind = name, None if data is None or bytes_per_s is None else (data[0], _rounded(data[1]))
        if kind not in kinds and kind[1] is not None and len(kinds) >= MOST_PLACES:
            kind = name, None
            uncounted += 1
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
    return Priced(columns, [name for name, _ in kinds], service, failure, cost, uncounted)


def _rounded(size: float) -> float:
    """To a power of two: sizes that hardly differ are one kind."""
    return 2.0 ** ceil(log2(max(size, 1.0)))
