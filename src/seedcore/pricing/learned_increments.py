"""What was learned since some moment, as increments: summed by agent and type, and added to a table of rates."""

from collections.abc import Callable, Iterable

from seedcore.pricing.learned_json import Learned
from seedcore.pricing.money_rates import MoneyRates
from seedcore.pricing.rates import RateTable


def summed(increments: Iterable[Learned]) -> list[Learned]:
    """One increment for each agent and type, in the order in which these come first."""
    found: dict[tuple[str, str], Learned] = {}
    for given in increments:
        key = given["agent"], given["type"]
        known = found.get(key)
        if known is None:
            found[key] = given.copy()
            continue
        known["count"] += given["count"]
        known["seconds"] += given["seconds"]
        known["successes"] += given["successes"]
        if given.get("paid"):
            known["money"] = known.get("money", 0.0) + given["money"]
            known["paid"] = known.get("paid", 0) + given["paid"]
    return list(found.values())


def add_increments(
    increments: Iterable[Learned], rates: RateTable, money: MoneyRates, organ_of: Callable[[str], str]
) -> None:
    """Add increments; `organ_of` names an agent's organ, "" where it has none. `RateColumns` are not written."""
    for given in increments:
        agent, task_type = given["agent"], given["type"]
        if given["count"]:
            rates.add(agent, task_type, given["count"], given["seconds"], given["successes"], organ_of(agent))
        if given.get("paid"):
            money.add(agent, task_type, given["paid"], given["money"])
