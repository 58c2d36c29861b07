"""What to do about an organ's hosts: pure, from what is wanted and what is there."""

from collections.abc import Sequence
from dataclasses import dataclass

OUTDATED, TOO_MANY, UNWANTED = "outdated", "more than needed", "not wanted any more"
MOVES = "another node has fewer of its organ"


@dataclass(frozen=True, slots=True)
class HostFact:
    """One host of the organ.

    Attributes:
        number: grows with every host that is made.
        current: it was made with today's code, resources and limits.
        alive: it answers.
        draining: it gets no new tasks and will be stopped.
    """

    name: str
    number: int
    current: bool
    alive: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class Steps:
    """How many hosts to make, and which to drain, each with the reason."""

    make: int = 0
    drain: tuple[tuple[str, str], ...] = ()


def next_steps(want: int, least: int, hosts: Sequence[HostFact]) -> Steps:
    """The next steps towards `want` current hosts.

    Outdated hosts are replaced one at a time, and never so that fewer than `least` are alive: where one can be spared
    it goes first, else its successor comes first. Hosts that do not answer go before those that do.

    Args:
        want: hosts that there ought to be; 0 when the organ is to be stopped.
        least: hosts that must stay alive, at most `want`.
        hosts: those that there are.
    """
    up = [host for host in hosts if not host.draining]
    if want == 0:
        return Steps(drain=tuple((host.name, UNWANTED) for host in up))
    silent = [host for host in up if not host.current and not host.alive]
    if silent:
        return Steps(drain=tuple((host.name, OUTDATED) for host in silent))
    if len(up) < want:
        return Steps(make=want - len(up))
    outdated = sorted((host for host in up if not host.current), key=lambda host: host.number)
    spare = sum(host.alive for host in up) - least
    if outdated:
        return _roll(up, outdated, want, spare, busy=any(host.draining for host in hosts))
    drain = []
    for host in sorted(up, key=lambda host: (host.alive, -host.number))[: len(up) - want]:
        if host.alive and spare <= 0:
            break
        spare -= host.alive
        drain.append((host.name, TOO_MANY))
    return Steps(drain=tuple(drain))


def _roll(up: Sequence[HostFact], outdated: Sequence[HostFact], want: int, spare: int, *, busy: bool) -> Steps:
    if busy or not all(host.alive for host in up if host.current):
        return Steps()
    if spare > 0:
        return Steps(drain=((outdated[0].name, OUTDATED),))
    return Steps(make=1) if len(up) <= want else Steps()
