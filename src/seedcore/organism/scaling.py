"""How many hosts an organ needs, from measured load, with hysteresis. Pure.

The load of an organ is the number of tasks that its hosts have in hand, running or waiting for a slot, as each host
tells with every answer to the leader; a host has so many slots (its concurrency). After UP_S with the load over HIGH of
all slots there are as many hosts as put it at HIGH. After DOWN_S with the load under LOW of the slots of fewer hosts
there are as many as the highest load of that time needs at LOW. Between the two nothing changes: a load that stays the
same changes the number at most once. A load over the slots of `most` hosts waits.
"""

from dataclasses import dataclass
from math import ceil

HIGH, LOW = 0.8, 0.5
UP_S, DOWN_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of hosts, for how many seconds the load has asked for more or for fewer, and the most that it asked
    for in the latter time."""

    hosts: int
    above_s: float = 0.0
    below_s: float = 0.0
    peak: int = 0


def next_scale(scale: Scale, running: int, slots: int, elapsed_s: float, *, least: int, most: int) -> Scale:
    """The scale after `elapsed_s` seconds with `running` tasks in hand.

    Args:
        scale: as it was.
        running: tasks in hand at all hosts together.
        slots: tasks that one host runs at once, at least 1.
        elapsed_s: seconds since the last call.
        least: hosts that there must be.
        most: hosts that there may be, at least `least`.
    """
    hosts = min(max(scale.hosts, least), most)
    if hosts != scale.hosts:
        return Scale(hosts)
    full = min(max(ceil(running / (HIGH * slots)), least), most)
    easy = min(max(ceil(running / (LOW * slots)), least), most)
    if full > hosts:
        above_s = scale.above_s + elapsed_s
        return Scale(full) if above_s >= UP_S else Scale(hosts, above_s=above_s)
    if easy < hosts:
        below_s, peak = scale.below_s + elapsed_s, max(scale.peak, easy)
        return Scale(peak) if below_s >= DOWN_S else Scale(hosts, below_s=below_s, peak=peak)
    return Scale(hosts)
