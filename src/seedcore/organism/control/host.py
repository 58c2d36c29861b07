"""A host as its leader knows it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Host:
    """One planned host.

    Attributes:
        name: the actor's name; never used again for another host.
        fingerprint: of the code, skills, resources and limits that it was made with.
        alive: it answered the last time that it had to.
        reason: why it is not alive.
        node: the Ray node that it lives on.
        drain_reason: why it gets no tasks any more and will be stopped; None: it gets tasks.
        draining_s: seconds since then, at the moment of reading.
    """

    name: str
    organ: str
    fingerprint: str
    alive: bool = False
    reason: str | None = "not asked yet"
    node: str | None = None
    drain_reason: str | None = None
    draining_s: float | None = None

    @property
    def number(self) -> int:
        """Grows with every host that is planned."""
        return int(self.name.rsplit("-", 1)[-1])

    @property
    def takes_tasks(self) -> bool:
        """Whether it belongs into the routing table."""
        return self.alive and self.drain_reason is None


PREFIX = "seedcore-host-"


def name_of(organ: str, number: int) -> str:
    """The name of an organ's host."""
    return f"{PREFIX}{organ}-{number}"


def organ_of_name(name: str) -> str | None:
    """The organ that a host's name tells; None when it is no host's name."""
    organ, _, number = name.removeprefix(PREFIX).rpartition("-")
    return organ if name.startswith(PREFIX) and number.isdecimal() and organ else None
