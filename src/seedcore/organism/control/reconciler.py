"""One pass of the control loop: compares desired with observed hosts, and plans what to create, drain and remove.

`reconcile_loop.ReconcileLoop` is the loop that calls it.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from seedcore.organism.control.autoscaler import Scale, energy_of, next_scale
from seedcore.organism.control.host import DEFAULT_POOL, UNPLANNED, Host, host_name, organ_of_host
from seedcore.organism.control.host_provisioner import HostProvisioner
from seedcore.organism.control.liveness import LivenessChecker
from seedcore.organism.control.rebalancer import Rebalancer
from seedcore.organism.control.rollout import MOVES, OUTDATED, HostFacts, plan_rollout
from seedcore.organism.desired.desired_state import Organ
from seedcore.telemetry.logs import get_logger

SETTLE_S = 3.0
"""A draining host is removed no sooner: by then every worker has a routing table without it."""

RETIRE_WAIT_S = 1.0
"""A pass waits so long for hosts that are being removed."""


@dataclass(slots=True)
class Reconciler:
    """The hosts of the organism as their leader keeps them.

    Args:
        provisioner: creates, pings and removes hosts.
        fingerprint: of a host that would be created for an organ now; see `host.host_fingerprint`.
        slots: tasks that one host of an organ runs at once.
        drain_s: longest time that a draining host may take to finish its tasks.
        on_late_reply: see `LivenessChecker`.
        foreseen: tasks in hand that a forecast expects of an organ, by its id; 0: there is no forecast.

    Attributes:
        node_count: living nodes that a worker fits on, when they were last known; None: they never were.
    """

    provisioner: HostProvisioner
    fingerprint: Callable[[Organ], str]
    slots: Callable[[Organ], int]
    drain_s: float
    on_late_reply: Callable[[], None] = lambda: None
    foreseen: Callable[[str], float] = lambda _organ: 0.0
    node_count: int | None = None
    hosts: dict[str, Host] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    _liveness: LivenessChecker = field(init=False)
    _planned_at: float | None = None
    _nodes: dict[str, list[str]] = field(default_factory=dict)
    _rebalancer: Rebalancer = field(default_factory=Rebalancer)
    _moving: set[str] = field(default_factory=set)
    _retiring: dict[str, asyncio.Task[bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._liveness = LivenessChecker(self.provisioner, self.fingerprint, lambda: self.on_late_reply())

    def take_over(self, hosts: Mapping[str, Host]) -> None:
        """Continue where another leader stopped: its plans hold, and every host is pinged again."""
        self.stop()
        self.hosts = dict(hosts)
        self.scales, self._planned_at = {}, None
        for host in self.hosts.values():
            host.alive, host.reason = False, "not pinged yet"
            health = self._liveness.health(host.name)
            if host.drain_reason is not None:
                health.draining_since = time.monotonic() - (host.draining_s or 0.0)

    async def adopt_unplanned(self, organs: Collection[str]) -> list[Host]:
        """Handle hosts that no leader planned: those of desired organs are kept until a successor lives, others are
        removed. Returns those that are kept."""
        adopted = []
        for name in await self.provisioner.names():
            organ = organ_of_host(name)
            if name in self.hosts or organ is None:
                continue
            if organ in organs:
                host = Host(name, organ, fingerprint=UNPLANNED)
                self._add(host)
                adopted.append(host)
            else:
                get_logger("seedcore.organism").warning("removing unplanned host", host=name)
                await self.provisioner.remove(name)
        return adopted

    async def observe(self, organs: Mapping[str, Organ]) -> None:
        """Create the planned hosts that are missing, and find out which hosts are alive."""
        await self._liveness.check(list(self.hosts.values()), organs)
        await self.list_nodes(organs)

    def plan(self, organs: Mapping[str, Organ], untouched: Collection[str] = ()) -> tuple[dict[str, int], list[Host]]:
        """Scale every organ, and decide the next steps.

        Args:
            organs: the desired organs; those whose hosts are to stop are not among them.
            untouched: organs whose hosts stay as they are.

        Returns:
            How many new hosts each organ needs, and the hosts that begin to drain.
        """
        now = time.monotonic()
        elapsed_s, self._planned_at = now - (self._planned_at or now), now
        create: dict[str, int] = {}
        draining: list[Host] = []
        for name in dict.fromkeys([*organs, *(host.organ for host in self.hosts.values())]):
            if name in untouched:
                continue
            own = [host for host in self.hosts.values() if host.organ == name]
            organ = organs.get(name)
            desired = 0 if organ is None else self._scale(organ, own, elapsed_s)
            if organ is not None:
                self._choose_move(organ, own, desired, now)
            facts = [self._facts(host, organ) for host in own]
            steps = plan_rollout(desired, 0 if organ is None else organ.spec.min_hosts, facts)
            if steps.create:
                create[name] = steps.create
            draining += [self._drain(host, reason, now) for host, reason in steps.drain]
        self.scales = {name: scale for name, scale in self.scales.items() if name in organs}
        return create, draining

    def add_host(self, organ: Organ, number: int) -> Host:
        """Plan a new host; the next `observe` creates it."""
        host = Host(host_name(organ.id, number), organ.id, self.fingerprint(organ), reason="starting")
        self._add(host)
        return host

    async def remove_drained(self) -> list[Host]:
        """Remove the draining hosts that have no tasks in hand, or whose time is up; returns those that are gone.

        One that still hands back its tasks is waited for RETIRE_WAIT_S, and then by the next pass: a leader that spends
        long in one loses its lead.
        """
        for host in self.hosts.values():
            if host.drain_reason is not None and host.name not in self._retiring and self._drained(host):
                retire = self._liveness.remove(host, self.provisioner.retire)
                self._retiring[host.name] = asyncio.create_task(retire, name=f"retire {host.name}")
        if self._retiring:
            await asyncio.wait(self._retiring.values(), timeout=RETIRE_WAIT_S)
        ended = {name: task for name, task in self._retiring.items() if task.done()}
        self._retiring = {name: task for name, task in self._retiring.items() if name not in ended}
        gone = [self.hosts.pop(name) for name, task in ended.items() if not task.cancelled() and task.result()]
        for host in gone:
            self._moving.discard(host.name)
            self._liveness.forget(host.name)
        return gone

    async def begin_drains(self) -> None:
        """Tell workers that drain to claim no more, in every pass: one may have been restarted since."""
        draining = [
            host
            for host in self.hosts.values()
            if host.drain_reason is not None and host.alive and host.name not in self._retiring
        ]
        await asyncio.gather(*[self._begin_drain(host.name) for host in draining])

    async def list_nodes(self, organs: Mapping[str, Organ]) -> None:
        """Find out which nodes have room for hosts of each organ, and how many live."""
        try:
            self._nodes = await self.provisioner.nodes({name: organ.spec for name, organ in organs.items()})
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing moves until nodes are known again
            get_logger("seedcore.organism").warning("cannot list nodes", reason=f"{type(error).__name__}: {error}")
            self._nodes = {}
        if DEFAULT_POOL in self._nodes:
            self.node_count = len(self._nodes[DEFAULT_POOL])

    async def existing_names(self) -> set[str]:
        """The names of all hosts and workers that exist or are planned."""
        return {*self.hosts, *await self.provisioner.names()}

    def old_snapshots(self) -> dict[str, float]:
        """Workers that decide with an old snapshot, and its age in seconds."""
        return self._liveness.old_snapshots()

    def running(self, name: str) -> int | None:
        """Tasks in hand as a host last reported; None when it has not replied since it was created."""
        return self._liveness.running(name)

    def stop(self) -> None:
        """Stop pinging, and leave what is being removed to the next leader."""
        self._liveness.stop()
        for task in self._retiring.values():
            task.cancel()
        self._retiring = {}

    def _scale(self, organ: Organ, own: Sequence[Host], elapsed_s: float) -> int:
        """The number of hosts that the organ is to have at its measured load."""
        up = [host for host in own if host.drain_reason is None]
        running = sum(self._liveness.health(host.name).running for host in own if host.alive)
        scale = self.scales.get(organ.id) or Scale(len(up))
        slots = self.slots(organ)
        min_hosts, max_hosts = organ.spec.min_hosts, organ.spec.max_hosts
        foreseen = self.foreseen(organ.id)
        after = next_scale(
            scale, running, slots, elapsed_s, min_hosts=min_hosts, max_hosts=max_hosts, foreseen=foreseen
        )
        self.scales[organ.id] = after
        if after.hosts != scale.hosts and up:
            get_logger("seedcore.organism").info(
                "organ scaled",
                organ=organ.id,
                before=scale.hosts,
                after=after.hosts,
                running=running,
                foreseen=round(foreseen, 2),
                slots=slots,
                delta_energy=energy_of(after.hosts, running, slots) - energy_of(max(1, scale.hosts), running, slots),
            )
        return after.hosts

    def _choose_move(self, organ: Organ, own: Sequence[Host], desired: int, now: float) -> None:
        """Choose a host to replace by one on an emptier node; only while nothing else is under way."""
        nodes = {host.name: host.node for host in own if host.node is not None and self._is_settled(host, organ)}
        if not len(nodes) == len(own) == desired or desired < 2:
            return
        moving = self._rebalancer.next_move(organ.id, nodes, self._nodes.get(organ.id, ()), now)
        if moving is not None:
            self._moving.add(moving)

    def _is_settled(self, host: Host, organ: Organ) -> bool:
        return host.takes_tasks and self._facts(host, organ).current

    def _facts(self, host: Host, organ: Organ | None) -> HostFacts:
        current = organ is not None and host.fingerprint == self.fingerprint(organ) and host.name not in self._moving
        return HostFacts(host.name, host.number, current, host.alive, host.drain_reason is not None)

    def _drain(self, name: str, reason: str, now: float) -> Host:
        host = self.hosts[name]
        host.drain_reason = MOVES if name in self._moving and reason == OUTDATED else reason
        self._liveness.health(name).draining_since = now
        return host

    async def _begin_drain(self, name: str) -> None:
        try:
            await self.provisioner.begin_drain(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next pass tries again
            reason = f"{type(error).__name__}: {error}"
            get_logger("seedcore.organism").warning("worker does not begin to drain", host=name, reason=reason)

    def _drained(self, host: Host) -> bool:
        health = self._liveness.health(host.name)
        if not host.alive or health.draining_since is None:
            return True
        drained_s = time.monotonic() - health.draining_since
        return drained_s > self.drain_s or (drained_s > SETTLE_S and health.running == 0)

    def _add(self, host: Host) -> None:
        self.hosts[host.name] = host
        self._liveness.health(host.name)
