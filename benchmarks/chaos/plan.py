"""What is submitted and what is struck, both decided by the seed alone."""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from benchmarks.faults import TARGETS

KILL, STOP = "SIGKILL", "SIGSTOP"
BACKEND = "PostgreSQL backend"
KINDS: dict[str, tuple[str, ...]] = {
    **TARGETS,
    # A backend that serves a client; the server's own background processes are none.
    BACKEND: ("postgres: ", "[local]"),
}
OFTEN = ("worker", "agent host", "PostgreSQL", BACKEND)
"""These hold or write leases: they stand in the bag twice."""

MAX_RUNNING = 4
"""At once, of the tasks under one limit."""

SHARE_ALL, SHARE_OVERLAP, SHARE_SHORT = 0.25, 0.2, 0.3
SHARE_APART = 0.15
"""Of the tasks, for the organ with a host of its own."""

SHARE_SILENT, SILENT_S = 0.25, (16.0, 20.0)
"""Of the stops of workers and hosts, such that the Organism ends what has been silent for 15 s."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing done to one kind of process.

    Attributes:
        kind: a name in KINDS.
        signal: SIGKILL, or SIGSTOP with SIGCONT after `stop_s` seconds.
        pick: which of the kind's processes, as a fraction of their list; None: all of them.
        wait_s: pause before it.
        overlaps: it does not wait until the one before is over.
    """

    kind: str
    signal: str
    pick: float | None
    stop_s: float
    wait_s: float
    overlaps: bool


@dataclass(frozen=True, slots=True)
class Task:
    """A task to submit; `delay_s` is its `run_after`, counted from the submission, `limit` the key of a limit.

    `apart`: for the organ that has a host of its own.
    """

    key: str
    n: int
    sleep_ms: int
    queue: str = "default"
    delay_s: float = 0.0
    max_attempts: int = 100
    limit: str | None = None
    apart: bool = False


def faults(seed: int, mean_s: float, lease_s: float, only: Collection[str] = KINDS) -> Iterator[Fault]:
    """Faults without end. Kinds and signals are drawn from a bag, so that each comes up before one does again."""
    chance = random.Random(f"faults {seed}")
    bag: list[tuple[str, str]] = []
    while True:
        if not bag:
            bag = [(kind, signal) for kind in (*KINDS, *OFTEN) if kind in only for signal in (KILL, STOP)]
            chance.shuffle(bag)
        kind, signal = bag.pop()
        # Most stops outlast the lease and the reaper's pause; the others end in time and must cost no lease.
        short = chance.random() < SHARE_SHORT
        stop_s = chance.uniform(0.3, lease_s * 0.6) if short else chance.uniform(lease_s + 2.5, lease_s + 6)
        if kind in ("worker", "agent host") and chance.random() < SHARE_SILENT:
            stop_s = chance.uniform(*SILENT_S)
        everyone = chance.random() < SHARE_ALL
        yield Fault(
            kind,
            signal,
            None if everyone else chance.random(),
            round(stop_s, 2) if signal == STOP else 0.0,
            min(chance.expovariate(1 / mean_s), 5 * mean_s),
            chance.random() < SHARE_OVERLAP,
        )


def batches(seed: int, count: int) -> Iterator[list[Task]]:
    """`count` tasks in batches of 1 to 60: mostly no-ops, sleepers of 10 ms to 2 s, some deferred, some fragile.

    A fragile one has two attempts, so that kills bring some of them to the dead letters. Some share a limit of few at
    once: a place that a lost worker does not give back would hold up the others.
    """
    chance = random.Random(f"tasks {seed}")
    n = 0
    while n < count:
        size = min(chance.randint(1, 60), count - n)
        yield [_task(chance, seed, n + k) for k in range(size)]
        n += size


def _task(chance: random.Random, seed: int, n: int) -> Task:
    if chance.random() < 0.05:
        key = f"chaos-{chance.randrange(3)}"
        return Task(f"chaos-{seed}-{n}", n, sleep_ms=chance.randint(10, 200), limit=key)
    sleeps = chance.random() < 0.4
    return Task(
        key=f"chaos-{seed}-{n}",
        n=n,
        sleep_ms=int(10 * 200 ** chance.random()) if sleeps else 0,
        queue="graph" if chance.random() < 0.1 else "default",
        delay_s=round(chance.uniform(0.1, 4), 2) if chance.random() < 0.05 else 0.0,
        max_attempts=2 if sleeps and chance.random() < 0.1 else 100,
        apart=chance.random() < SHARE_APART,
    )
