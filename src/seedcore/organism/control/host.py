"""A planned host as its leader knows it, and the naming of hosts."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from seedcore.fleet.organ_spec import OrganSpec


@dataclass(slots=True)
class Host:
    """One planned host.

    Attributes:
        name: the actor's name; never used again for another host.
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
    def takes_tasks(self) -> bool:
        """Whether it belongs in the routing table."""
        return self.alive and self.drain_reason is None


PREFIX = "seedcore-host-"


def host_name(organ: str, number: int) -> str:
    """The name of an organ's host."""
    return f"{PREFIX}{organ}-{number}"


def organ_of_host(name: str) -> str | None:
    """The organ in a host's name; None when `name` is not that of a host."""
    organ, _, number = name.removeprefix(PREFIX).rpartition("-")
    return organ if name.startswith(PREFIX) and number.isdecimal() and organ else None


def host_fingerprint(spec: OrganSpec, version: str, skills: Iterable[str]) -> str:
    """Identifies what hosts are created with: code version, skills, resources, roles and limits.

    A host with another fingerprint is outdated and will be replaced.
    """
    created_with = spec.model_dump(mode="json", include={"num_cpus", "num_gpus", "resources", "roles", "limits"})
    content = json.dumps([version, sorted(skills), created_with], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
