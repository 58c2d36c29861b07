"""What the tables are held against."""

from benchmarks.routing.parts import LOADS, ORACLE, SIMPLE, Table

Check = tuple[str, float, float, bool]
"""What is checked, the measured value, its bound, whether it is met."""


def checks(tables: list[Table]) -> list[Check]:
    """Every target that the tables can be held against."""
    by_name = {table.name: table for table in tables}
    found: list[Check] = []
    if (mean := by_name.get("heterogeneous agents, mean")) is not None:
        for n, load in enumerate(LOADS):
            energy = mean.rows["energy"][n]
            if load >= 0.8:
                found += [
                    _at_most(f"mean at {load:g} to {other}'s", energy / mean.rows[other][n], 0.2)
                    for other in ("power_of_two", "join_shortest_queue")
                ]
                found.append(_at_most(f"mean at {load:g} to the oracle's", energy / mean.rows[ORACLE][n], 1.3))
            best = min(mean.rows[router][n] for router in SIMPLE)
            found.append(_at_most(f"mean at {load:g} to the best simple router's", energy / best, 1.12))
    if (same := by_name.get("identical agents, mean")) is not None:
        for n, load in enumerate(LOADS):
            ratio = same.rows["energy"][n] / same.rows["join_shortest_queue"][n]
            found.append(_at_most(f"identical agents at {load:g}, to join_shortest_queue's", ratio, 1.05))
    return found


def _at_most(what: str, value: float, bound: float) -> Check:
    return what, value, bound, value <= bound
