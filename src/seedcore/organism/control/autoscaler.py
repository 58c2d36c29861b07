"""Autoscaling: the number of hosts with the least energy at an organ's measured load, with hysteresis. Pure.

The load of an organ is the number of tasks that its hosts have in hand, running or waiting for a slot, as each host
reports with every ping reply; `slots` is the concurrency of one host. With L the load in hosts' slots,
spread over h hosts, the energy is ½L²/h, what waits, and ½·HIGH²·Σ (j-1)/j over the hosts, what they cost: the first is
free, and a further one costs ever nearer ½·HIGH². The whole number with the least energy is then ⌈L / HIGH⌉. (From h to
h + 1 hosts the energy falls exactly while L > HIGH·h, and it is convex.)

After UP_S with the load over HIGH of all slots, the organ gets that many hosts. After DOWN_S with the load under LOW of
the slots of fewer hosts, it gets as many as the highest load of that time needs at LOW. Both lower the energy; between
the two nothing changes: a load that stays the same changes the number at most once. A load over the slots of
`max_hosts` hosts waits.
"""

from dataclasses import dataclass
from math import ceil

from seedcore.pricing.host_need import HIGH, hosts_needed

LOW = 0.5
UP_S, DOWN_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of hosts; for how many seconds the load has called for more, or for fewer; and in the latter case the
    highest number that it called for meanwhile."""

    hosts: int
    above_s: float = 0.0
    below_s: float = 0.0
    peak: int = 0


def energy_of(hosts: int, running: int, slots: int) -> float:
    """Energy of `running` tasks on `hosts` (at least 1) of `slots` slots each, in slots² of one host."""
    load = running / slots
    return 0.5 * load * load / hosts + 0.5 * HIGH**2 * sum((j - 1) / j for j in range(1, hosts + 1))


def next_scale(
    scale: Scale,
    running: int,
    slots: int,
    elapsed_s: float,
    *,
    min_hosts: int,
    max_hosts: int,
    foreseen: float = 0.0,
) -> Scale:
    """The scale after `elapsed_s` seconds with `running` tasks in hand.

    Args:
        scale: the previous scale.
        running: tasks in hand at all hosts.
        slots: tasks that one host runs at once, at least 1.
        elapsed_s: seconds since the last call.
        min_hosts: lower bound.
        max_hosts: upper bound, at least `min_hosts`.
        foreseen: tasks in hand that a forecast expects in the time to come; 0: there is none. For these there are
            hosts at once, and as long as they are foreseen: a wrong forecast can cost hosts, never take any away.
    """
    min_hosts = min(max(min_hosts, hosts_needed(foreseen, slots)), max_hosts)
    hosts = min(max(scale.hosts, min_hosts), max_hosts)
    if hosts != scale.hosts:
        return Scale(hosts)
    full = min(max(hosts_needed(running, slots), min_hosts), max_hosts)
    easy = min(max(ceil(running / (LOW * slots)), min_hosts), max_hosts)
    if full > hosts:
        above_s = scale.above_s + elapsed_s
        return Scale(full) if above_s >= UP_S else Scale(hosts, above_s=above_s)
    if easy < hosts:
        below_s, peak = scale.below_s + elapsed_s, max(scale.peak, easy)
        return Scale(peak) if below_s >= DOWN_S else Scale(hosts, below_s=below_s, peak=peak)
    return Scale(hosts)
