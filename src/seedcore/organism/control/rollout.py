"""Rollout of an organ's hosts: which to create and which to drain, from desired and observed state. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

OUTDATED, TOO_MANY, UNWANTED = "outdated", "more than needed", "no longer wanted"
MOVES = "another node has fewer of its organ"
"""Why a host is drained."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One host of the organ.

    Attributes:
        number: grows with every host that is created.
        current: it was created with the present code, resources and limits.
        alive: it answers pings.
        draining: it gets no new tasks and will be stopped.
    """

    name: str
    number: int
    current: bool
    alive: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class RolloutSteps:
    """How many hosts to create, and which to drain, each with the reason."""

    create: int = 0
    drain: tuple[tuple[str, str], ...] = ()


def plan_rollout(desired: int, min_alive: int, hosts: Sequence[HostFacts]) -> RolloutSteps:
    """The next steps towards `desired` current hosts.

    Outdated hosts are replaced one at a time, and never so that fewer than `min_alive` are alive: where one can be
    spared it is drained first, else its successor is created first. Hosts that do not answer go before those that do.

    Args:
        desired: how many hosts to have; 0 when the organ is to be stopped.
        min_alive: how many hosts must stay alive, at most `desired`.
        hosts: the existing hosts.
    """
    up = [host for host in hosts if not host.draining]
    if desired == 0:
        return RolloutSteps(drain=tuple((host.name, UNWANTED) for host in up))
    silent = [host for host in up if not host.current and not host.alive]
    if silent:
        return RolloutSteps(drain=tuple((host.name, OUTDATED) for host in silent))
    if len(up) < desired:
        return RolloutSteps(create=desired - len(up))
    outdated = sorted((host for host in up if not host.current), key=lambda host: host.number)
    spare = sum(host.alive for host in up) - min_alive
    if outdated:
        return _roll(up, outdated, desired, spare, busy=any(host.draining for host in hosts))
    drain = []
    for host in sorted(up, key=lambda host: (host.alive, -host.number))[: len(up) - desired]:
        if host.alive and spare <= 0:
            break
        spare -= host.alive
        drain.append((host.name, TOO_MANY))
    return RolloutSteps(drain=tuple(drain))


def _roll(
    up: Sequence[HostFacts], outdated: Sequence[HostFacts], desired: int, spare: int, *, busy: bool
) -> RolloutSteps:
    if busy or not all(host.alive for host in up if host.current):
        return RolloutSteps()
    if spare > 0:
        return RolloutSteps(drain=((outdated[0].name, OUTDATED),))
    return RolloutSteps(create=1) if len(up) <= desired else RolloutSteps()
