"""How many hosts a load needs: the one formula of the autoscaler and of forecasts. Pure."""

from math import ceil

HIGH = 0.8
"""Share of all slots that a load may fill before more hosts are needed."""


def hosts_needed(load: float, slots: int) -> int:
    """The fewest hosts of so many slots that a load of tasks in hand fills to at most HIGH."""
    return ceil(load / (HIGH * slots) - 1e-9)
