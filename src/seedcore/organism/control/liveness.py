"""Host liveness: creates planned hosts that are missing, pings every host, and replaces those that stay silent."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from seedcore.fleet.organ_spec import HostPlan
from seedcore.organism.control.host import Host
from seedcore.organism.control.host_provisioner import HostProvisioner, PingReply
from seedcore.organism.desired.desired_state import Organ
from seedcore.telemetry.logs import get_logger

PING_TIMEOUT_S = 1.0
"""A pass waits so long for replies; those that come later count in the next pass."""

FIRST_PING_S = 0.02
"""The same for hosts that were just created: a pass does not wait while processes start."""

SUSPECT_S = 5.0
"""A host that has not replied for so long gets no tasks."""

SILENT_S = 15.0
"""A host that has not replied for so long is replaced: its process is stopped, or its event loop blocked.
Longer than SEEDCORE_HOST_BLOCKED_S, after which a host ends itself and can say why."""

RESTART_S = 30.0
"""The same for a host that has replied and whose pings fail since: Ray may be restarting it."""

OLD_SNAPSHOT_S = 5.0
"""With a Coordinator a worker's snapshot is confirmed every second: an older one is shown in health."""

START_S = 120.0
"""The same for a host that was created and has not replied yet: it may wait for resources, or for a slow machine."""


@dataclass(slots=True)
class HostHealth:
    """What only the leader's memory knows of a host. Times are of `time.monotonic`.

    Attributes:
        silent_since: its last reply; before its first one, when it was created or first failed.
        max_silence_s: counted from then; after that it is replaced.
        starting: it was created here, and has not replied since.
        replied: the present process of the host has replied.
        running: tasks in hand, from its last reply.
        snapshot_age_s: how old a worker's snapshot was at its last reply.
        draining_since: when it began to drain; None: it does not.
        ping: the ping that has not been answered yet.
    """

    silent_since: float
    max_silence_s: float = START_S
    starting: bool = False
    replied: bool = False
    running: int = 0
    snapshot_age_s: float | None = None
    draining_since: float | None = None
    ping: asyncio.Task[PingReply] | None = None


@dataclass(slots=True)
class LivenessChecker:
    """Keeps `alive`, `reason` and `node` of hosts up to date.

    Args:
        provisioner: creates, pings and removes hosts.
        fingerprint: of a host that would be created for an organ now.
        on_late_reply: called when a reply comes that the last pass did not wait for.
    """

    provisioner: HostProvisioner
    fingerprint: Callable[[Organ], str]
    on_late_reply: Callable[[], None]
    _health: dict[str, HostHealth] = field(default_factory=dict)

    def health(self, name: str) -> HostHealth:
        """What is known of a host; a new entry when nothing is."""
        return self._health.setdefault(name, HostHealth(time.monotonic()))

    def running(self, name: str) -> int | None:
        """Tasks in hand as a host last reported; None when it has not replied since it was created."""
        health = self._health.get(name)
        return health.running if health is not None and health.replied else None

    def old_snapshots(self) -> dict[str, float]:
        """Workers that decided with a snapshot older than OLD_SNAPSHOT_S at their last reply, and its age."""
        ages = {name: health.snapshot_age_s for name, health in self._health.items()}
        return {name: round(age, 1) for name, age in ages.items() if age is not None and age > OLD_SNAPSHOT_S}

    async def check(self, hosts: Collection[Host], organs: Mapping[str, Organ]) -> None:
        """Create the hosts that are missing, ping all of them, and judge each by its reply or its silence."""
        exists = await asyncio.gather(*[self._ensure(host, organs) for host in hosts])
        for host, created in zip(hosts, exists, strict=True):
            health = self.health(host.name)
            if created and health.ping is None:
                health.ping = asyncio.create_task(self.provisioner.ping(host.name), name=f"ping {host.name}")
        await self._wait_for_replies()
        for host in hosts:
            await self._judge(host)
        for health in self._health.values():
            if health.ping is not None:
                health.ping.remove_done_callback(self._late)
                health.ping.add_done_callback(self._late)

    async def remove(self, host: Host, remove: Callable[[str], Awaitable[None]]) -> bool:
        """Remove a host by `remove`, a method of the provisioner; False when that failed, which is logged."""
        try:
            await remove(host.name)
        except Exception as error:  # noqa: BLE001 - whatever prevents it, the next pass tries again
            get_logger("seedcore.organism").warning("cannot remove host", host=host.name, reason=str(error))
            return False
        return True

    def forget(self, name: str) -> None:
        """Drop what is known of a host."""
        health = self._health.pop(name, None)
        if health is not None and health.ping is not None:
            health.ping.cancel()

    def stop(self) -> None:
        """Cancel the open pings, and drop what is known of all hosts."""
        for name in list(self._health):
            self.forget(name)

    async def _wait_for_replies(self) -> None:
        """Wait for the open pings, each as long as its host deserves."""
        for timeout_s, new_too in ((FIRST_PING_S, True), (PING_TIMEOUT_S, False)):
            open_pings = [h.ping for h in self._health.values() if h.ping is not None and (new_too or not h.starting)]
            if open_pings:
                await asyncio.wait(open_pings, timeout=timeout_s)

    def _late(self, ping: asyncio.Task[PingReply]) -> None:
        """A failure waits for the next pass: else one that comes at once again and again would keep the loop busy."""
        if not ping.cancelled() and ping.exception() is None:
            self.on_late_reply()

    async def _ensure(self, host: Host, organs: Mapping[str, Organ]) -> bool:
        """Create the host unless it exists; False when that fails. Draining hosts are not created again."""
        organ = organs.get(host.organ)
        if host.drain_reason is not None or organ is None:
            return True
        try:
            created = await self.provisioner.ensure(HostPlan(host.name, host.organ, organ.spec))
        except Exception as error:  # noqa: BLE001 - whatever prevents one host, the next pass tries again
            _mark_lost(host, _reason(error))
            return False
        if created:
            host.fingerprint = self.fingerprint(organ)
            self._reset(host, "starting")
            self.health(host.name).starting = True
        return True

    async def _judge(self, host: Host) -> None:
        health, now = self.health(host.name), time.monotonic()
        if health.ping is not None and health.ping.done():
            ping, health.ping = health.ping, None
            error = asyncio.CancelledError() if ping.cancelled() else ping.exception()
            if error is not None:
                self._ping_failed(host, _reason(error))
            else:
                self._ping_replied(host, ping.result())
        silent_s = now - health.silent_since
        if silent_s > health.max_silence_s and host.drain_reason is None:
            get_logger("seedcore.organism").warning("host silent, replacing it", host=host.name, seconds=silent_s)
            if await self.remove(host, self.provisioner.remove):
                self._reset(host, f"silent for {silent_s:.0f} s, being replaced")
        elif host.alive and silent_s > SUSPECT_S:
            _mark_lost(host, f"silent for {silent_s:.0f} s")

    def _ping_replied(self, host: Host, reply: PingReply) -> None:
        health = self.health(host.name)
        health.silent_since, health.max_silence_s = time.monotonic(), SILENT_S
        health.starting, health.replied, health.running = False, True, reply.running
        health.snapshot_age_s = reply.snapshot_age_s
        host.alive, host.reason, host.node = True, None, reply.node

    def _ping_failed(self, host: Host, reason: str) -> None:
        """The process has ended. Ray may start another one; failing again gives that one no more time."""
        health = self.health(host.name)
        if health.replied:
            health.silent_since, health.max_silence_s = time.monotonic(), RESTART_S
            health.replied, health.running = False, 0
        _mark_lost(host, reason)

    def _reset(self, host: Host, reason: str) -> None:
        """The host has been, or will be, created again: forget what was known of the process before."""
        draining_since = self.health(host.name).draining_since
        self.forget(host.name)
        self._health[host.name] = HostHealth(time.monotonic(), draining_since=draining_since)
        _mark_lost(host, reason)


def _mark_lost(host: Host, reason: str) -> None:
    if host.alive:
        get_logger("seedcore.organism").warning("host lost", host=host.name, reason=reason)
    host.alive, host.reason = False, reason


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
