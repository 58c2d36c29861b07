"""Making the hosts that there ought to be, and knowing which of them live. `HostPool` is the Ray side of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from seedcore.organism.organs import HostPlan, OrganSpec
from seedcore.utils.logs import get_logger


class HostPool(Protocol):
    """Hosts as somebody keeps them."""

    async def ensure(self, plan: HostPlan) -> None:
        """Make the host unless it is there."""

    async def ping(self, name: str) -> None:
        """Return when the host answers; raise when it does not."""

    async def remove(self, name: str) -> None:
        """End a host that nobody wants any more."""


def plan_hosts(organs: dict[str, OrganSpec]) -> list[HostPlan]:
    """The hosts that `organs` ask for at least; names are stable, so that two makers agree."""
    return [
        HostPlan(f"seedcore-host-{organ}-{n}", organ, spec)
        for organ, spec in organs.items()
        for n in range(spec.least_hosts)
    ]


@dataclass(slots=True)
class HostState:
    """What is known about one wanted host."""

    plan: HostPlan
    alive: bool = False
    reason: str | None = "not asked yet"


@dataclass(slots=True)
class Reconciler:
    """Compares desired and living hosts, and repairs the difference; `epoch` counts changes of who lives."""

    pool: HostPool
    hosts: dict[str, HostState] = field(default_factory=dict)
    organs: dict[str, OrganSpec] = field(default_factory=dict)
    epoch: int = 0
    unwanted: set[str] = field(default_factory=set)

    def desire(self, organs: dict[str, OrganSpec]) -> None:
        """Change what is wanted; hosts that are not wanted any more are removed by the next round."""
        before = {name: state.plan for name, state in self.hosts.items()}
        plans = {plan.name: plan for plan in plan_hosts(organs)}
        self.organs = dict(organs)
        self.unwanted = (self.unwanted | set(before)) - set(plans)
        known = self.hosts
        self.hosts = {
            name: HostState(plan, known[name].alive, known[name].reason) if name in known else HostState(plan)
            for name, plan in plans.items()
        }
        if plans != before:
            self.epoch += 1

    async def round(self) -> None:
        """Make what is missing, ask every host and remove what nobody wants; all of them at once."""
        before = self.living()
        await asyncio.gather(
            *[self._one(state) for state in self.hosts.values()], *[self._remove(name) for name in self.unwanted]
        )
        if self.living() != before:
            self.epoch += 1

    async def _remove(self, name: str) -> None:
        try:
            await self.pool.remove(name)
        except Exception as error:  # noqa: BLE001 - whatever stands in the way, the next round tries again
            get_logger("seedcore.organism").warning("host not removed", host=name, reason=str(error))
        else:
            self.unwanted.discard(name)

    async def _one(self, state: HostState) -> None:
        try:
            await self.pool.ensure(state.plan)
            await self.pool.ping(state.plan.name)
        except Exception as error:  # noqa: BLE001 - whatever a host's silence looks like, it is its reason
            if state.alive:
                get_logger("seedcore.organism").warning("host lost", host=state.plan.name, reason=str(error))
            state.alive, state.reason = False, f"{type(error).__name__}: {error}"[:300]
        else:
            state.alive, state.reason = True, None

    def living(self) -> Sequence[str]:
        """Names of the hosts that answered."""
        return sorted(name for name, state in self.hosts.items() if state.alive)

    @property
    def complete(self) -> bool:
        """True when organs are wanted and every host of each has answered."""
        return bool(self.hosts) and all(state.alive for state in self.hosts.values())
