"""How many hosts an organ needs: as many as have the least energy at its measured load, with hysteresis. Pure.

The load of an organ is the number of tasks that its hosts have in hand, running or waiting for a slot, as each host
tells with every answer to the leader; a host has so many slots (its concurrency). With L the load in hosts' slots,
spread over h hosts, the energy is ½L²/h, what waits, and ½·HIGH²·Σ (j-1)/j over the hosts, what they cost: the first is
free, and a further one costs ever nearer ½·HIGH². The whole number with the least energy is then ⌈L / HIGH⌉. (From h to
h + 1 hosts the energy falls exactly while L > HIGH·h, and it is convex.)

After UP_S with the load over HIGH of all slots there are that many hosts. After DOWN_S with the load under LOW of the
slots of fewer hosts there are as many as the highest load of that time needs at LOW. Both lower the energy; between
the two nothing changes: a load that stays the same changes the number at most once. A load over the slots of `most`
hosts waits.
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


def energy_of(hosts: int, running: int, slots: int) -> float:
    """Energy of `running` tasks spread over `hosts` (at least 1) of so many slots each, in slots² of one host."""
    load = running / slots
    return 0.5 * load * load / hosts + 0.5 * HIGH**2 * sum((j - 1) / j for j in range(1, hosts + 1))


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
