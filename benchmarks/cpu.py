"""Processor time by kind of process: of one system, and of the whole machine beside it."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from benchmarks.system import matches

OTHERS = "others"
GROUPS: dict[str, str] = {
    "workers": "ray::WorkerActor|ray::DispatcherActor",
    "agent hosts": "ray::AgentHost",
    "reaper": "ray::ReaperActor",
    "gateway": "ray::ServeReplica:gateway",
    "Coordinator": "ray::ServeReplica:coordinator",
    "other services": "ray::ServeReplica",
    "PostgreSQL": "bin/postgres|postgres: |embedded.supervisor",
    "Ray and Serve": "ray::|raylet|gcs_server|haproxy|ray/dashboard|ray/_private|serve_child|bin/serve",
}
"""By what their command lines hold; the first that fits. `others`: the launcher, and what skills start."""

RAY = "Ray and Serve"


def group_of(line: str) -> str:
    """The group of a process by its command line."""
    return next((name for name, part in GROUPS.items() if matches(line, [part])), OTHERS)


@dataclass(frozen=True, slots=True)
class Used:
    """Processor seconds of one process and of its children that have ended."""

    group: str
    parent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor time so far: of a system's processes by pid, and of the machine."""

    processes: dict[int, Used]
    machine_s: float

    @property
    def seconds(self) -> float:
        """Of all these processes since each began."""
        return sum(used.seconds for used in self.processes.values())


def read(processes: Iterable[psutil.Process]) -> Reading:
    """Read the processor time of processes; those that end meanwhile are left out."""
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            group = group_of(" ".join(process.cmdline()))
            # A process that ends hands its time to its parent's count of children: the sum over all loses nothing.
            found[process.pid] = Used(group, process.ppid(), sum(times[:4]))
    times = psutil.cpu_times()
    return Reading(found, float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice))


def between(before: Reading, after: Reading) -> Counter[str]:
    """Processor seconds by group between two readings.

    A process counts in the group that it had last: Ray starts processes before it knows what they will be.
    """
    used: Counter[str] = Counter()
    for pid, now in after.processes.items():
        used[now.group] += now.seconds - (before.processes[pid].seconds if pid in before.processes else 0.0)
    for pid, gone in before.processes.items():
        if pid not in after.processes:
            parent = after.processes.get(gone.parent)
            used[OTHERS if parent is None else parent.group] -= gone.seconds
    return used
