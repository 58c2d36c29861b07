"""A planned host as its leader knows it, and the naming of hosts. Workers are hosts too, of pools with reserved ids."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.tasks.model import DEFAULT_QUEUE, GRAPH_QUEUE

RESERVED = "~"
"""Ids of pools that no file can declare begin with it: an organ's id cannot."""

DEFAULT_POOL, GRAPH_POOL = f"{RESERVED}default", f"{RESERVED}graph"

QUEUE_OF_POOL = {DEFAULT_POOL: DEFAULT_QUEUE, GRAPH_POOL: GRAPH_QUEUE}
"""The queue that the workers of each pool serve."""

POOL_OF_QUEUE = {queue: pool for pool, queue in QUEUE_OF_POOL.items()}

UNPLANNED = "unknown"
"""Fingerprint of a host that no leader planned. A worker of it may be of a release whose workers run no skills."""

HOST_PREFIX = "seedcore-host-"
_WORKER_PREFIX = {DEFAULT_POOL: "seedcore-dispatcher-", GRAPH_POOL: "seedcore-graph-dispatcher-"}
_POOL_OF_PREFIX = {prefix: pool for pool, prefix in _WORKER_PREFIX.items()}


@dataclass(slots=True)
class Host:
    """One planned host.

    Attributes:
        name: the actor's name; never used again for another host.
        organ: its organ; of a worker, its pool.
        fingerprint: of the code, skills, resources and limits that it was created with; see `host_fingerprint`.
        alive: it answers pings.
        reason: why it is not alive.
        node: the Ray node that it runs on.
        drain_reason: why it gets no more tasks and will be stopped; None: it gets tasks.
        draining_s: seconds since then, at the moment of reading.
    """

    name: str
    organ: str
    fingerprint: str
    alive: bool = False
    reason: str | None = "not pinged yet"
    node: str | None = None
    drain_reason: str | None = None
    draining_s: float | None = None

    @property
    def number(self) -> int:
        """Grows with every host that is planned."""
        return int(self.name.rsplit("-", 1)[-1])

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker: it serves a queue."""
        return self.organ in QUEUE_OF_POOL

    @property
    def takes_tasks(self) -> bool:
        """Whether it gets tasks: those of its agents, and a worker those that it claims."""
        return self.alive and self.drain_reason is None

    @property
    def keeps_agents(self) -> bool:
        """Whether agents may live on it: it belongs in the routing table."""
        return self.takes_tasks and not (self.is_worker and self.fingerprint == UNPLANNED)


def host_name(organ: str, number: int) -> str:
    """The name of an organ's or pool's host."""
    return f"{_WORKER_PREFIX.get(organ, f'{HOST_PREFIX}{organ}-')}{number}"


def organ_of_host(name: str) -> str | None:
    """The organ or pool in a host's name; None when `name` is not that of a host or worker."""
    before, dash, number = name.rpartition("-")
    if not number.isdecimal():
        return None
    pool = _POOL_OF_PREFIX.get(before + dash)
    return pool or (before.removeprefix(HOST_PREFIX) or None if before.startswith(HOST_PREFIX) else None)


def host_fingerprint(spec: OrganSpec, version: str, skills: Iterable[str]) -> str:
    """Identifies what hosts are created with: code version, skills, resources, roles and limits.

    A host with another fingerprint is outdated and will be replaced.
    """
    created_with = spec.model_dump(mode="json", include={"num_cpus", "num_gpus", "resources", "roles", "limits"})
    content = json.dumps([version, sorted(skills), created_with], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
