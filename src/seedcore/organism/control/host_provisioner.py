"""The port to whoever runs hosts and workers: create, ping, call and remove them.

`RayHostProvisioner` is the Ray side of it. A worker is a host whose organ is a pool; see `host.QUEUE_OF_POOL`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.skills.host_protocol import Call, Completion


@dataclass(frozen=True, slots=True)
class PingReply:
    """A host's answer to a ping: tasks in hand, the node that it runs on, and of a worker how old its snapshot is."""

    running: int
    node: str | None = None
    snapshot_age_s: float | None = None


class HostProvisioner(Protocol):
    """Creates, pings, calls and removes hosts."""

    async def ensure(self, plan: HostPlan) -> bool:
        """Create the host unless it exists; returns whether it was created."""

    async def ping(self, name: str) -> PingReply:
        """The host's answer, however long it takes; raises when none can come."""

    async def remove(self, name: str) -> None:
        """End a host for good; one that does not exist is fine."""

    async def begin_drain(self, name: str) -> None:
        """Tell a worker to claim no more, and to go on with what it has; a host needs nothing. Repeating it is fine."""

    async def retire(self, name: str) -> None:
        """Remove a host after it has handed back the tasks in hand and saved what its agents learned."""

    async def names(self) -> Iterable[str]:
        """All existing hosts, whoever created them."""

    async def nodes(self, organs: Mapping[str, OrganSpec]) -> dict[str, list[str]]:
        """For each organ the nodes that have the resources of one of its hosts."""

    async def execute(self, host: str, call: Call, timeout_s: float) -> Completion:
        """Run one call on a host.

        Raises:
            DeadlineError: no answer within `timeout_s` and a margin.
            UnavailableError: the host does not answer.
        """
