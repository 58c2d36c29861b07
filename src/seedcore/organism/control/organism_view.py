"""What this replica knows of the organism: desired organs, observed hosts, and the routing table made of both.

The control loop writes it, the service answers from it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from seedcore.decision.routing_table import RoutingTable
from seedcore.errors import NotFoundError
from seedcore.fleet.organ_spec import organ_of_skills
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.organism.control.host import DEFAULT_POOL, POOL_OF_QUEUE, QUEUE_OF_POOL, RESERVED, Host
from seedcore.organism.control.reserved_pools import quarantine_pools, wanted_workers, worker_pools
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.routing.table_builder import OrganMembers, SkillDeclarations, build_routing_table
from seedcore.organism.routing.type_routes import TypeRoutes
from seedcore.schemas.organism import WorkerNumbers


@dataclass(slots=True)
class OrganismView:
    """One replica's knowledge; it answers for the epoch that it has seen last.

    Attributes:
        declared: what skills declare.
        fingerprint: of a host that would be created for an organ now.
        workers: how many workers there are to be.
        nodes: living nodes; None: not known.
        lifecycle: stage of each agent that has a row.
        organs: the desired organs.
        unreadable: organs that another version wrote: the last known specification applies, and their hosts stay.
        quarantined: skills that run in a host of their own.
        hosts: the planned hosts and workers as last observed.
        stopped: no host is to run; workers are.
        epoch: changes whenever the routing table does.
    """

    declared: SkillDeclarations
    fingerprint: Callable[[Organ], str]
    workers: WorkerNumbers
    nodes: int | None = None
    lifecycle: Mapping[str, str] = field(default_factory=dict)
    organs: dict[str, Organ] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    quarantined: tuple[QuarantinedSkill, ...] = ()
    hosts: dict[str, Host] = field(default_factory=dict)
    stopped: bool = False
    epoch: int = 0
    _members: dict[str, tuple[int, OrganMembers]] = field(default_factory=dict)
    _table: RoutingTable | None = None
    _routes: TypeRoutes | None = None

    def organ(self, name: str) -> Organ:
        """The desired state of an organ.

        Raises:
            NotFoundError: it does not exist.
        """
        organ = self.organs.get(name)
        if organ is None:
            known = ", ".join(sorted(self.organs)) or "none, the organism is not initialized"
            raise NotFoundError(f"There is no organ {name!r}. Known: {known}.")
        return organ

    def pools(self) -> dict[str, Organ]:
        """Everything that the control loop keeps hosts for, by id: organs with hosts of their own, quarantined skills
        and pools of workers."""
        found = {} if self.stopped else {name: o for name, o in self.organs.items() if o.spec.own_hosts}
        if not self.stopped:
            found |= {pool.id: pool for pool in self.quarantine_pools().values()}
        return found | worker_pools(self.workers, self.nodes or 1)

    def untouched(self) -> frozenset[str]:
        """Organs and pools whose hosts stay as they are: what another version wrote, organs whose agents have no
        worker to move to yet, and workers for each node while the number of nodes is unknown."""
        uncounted = {DEFAULT_POOL} if self.workers.per_node is not None and self.nodes is None else set()
        if self.stopped:
            return frozenset(uncounted)
        waiting = () if self.hosts_of(DEFAULT_POOL, keep_agents=True) else self.organs.values()
        return self.unreadable | uncounted | {organ.id for organ in waiting if not organ.spec.own_hosts}

    def quarantine_pools(self) -> dict[str, Organ]:
        """By skill the organ that a quarantined skill runs in."""
        return quarantine_pools(self.quarantined, self.skill_organs(), self.organs) if self.quarantined else {}

    def wanted_workers(self) -> dict[str, int]:
        """How many workers each pool is to have."""
        return wanted_workers(self.workers, self.nodes or 1)

    def hosts_of(self, organ: str, *, keep_agents: bool = False) -> list[Host]:
        """The hosts of an organ or pool by name; only those that agents may live on when `keep_agents`."""
        own = [host for host in self.hosts.values() if host.organ == organ and (host.keeps_agents or not keep_agents)]
        return sorted(own, key=lambda host: host.name)

    def homes(self, organ: Organ) -> list[Host]:
        """The living hosts that an organ's agents live on: its own, or the workers of its queue, or others while these
        are away.

        While there is no worker, as at the beginning of an upgrade, agents stay on the hosts that their organ has had.
        """
        pools = () if organ.spec.own_hosts else (POOL_OF_QUEUE[organ.spec.queue], DEFAULT_POOL)
        homes = (self.hosts_of(name, keep_agents=True) for name in (*pools, organ.id))
        return next((found for found in homes if found), [])

    @property
    def complete(self) -> bool:
        """True when there are organs, and every one with hosts of its own has its minimum that takes tasks."""
        return not self.stopped and bool(self.organs) and not self.organ_shortfalls()

    def organ_shortfalls(self) -> dict[str, str]:
        """Organs that have fewer living hosts than their minimum, and what is known of the missing ones."""
        own = [organ for organ in self.organs.values() if organ.spec.own_hosts]
        found = self._shortfalls({organ.id: (organ.id, organ.spec.min_hosts) for organ in own})
        for name in self.unreadable - self.organs.keys():
            found[name] = "was stored by another version, and this one cannot read it; its hosts keep running"
        return found

    def shortfalls(self) -> dict[str, str]:
        """The same with quarantined skills (as `quarantined SKILL`) and workers (as `workers QUEUE`)."""
        alone = {} if self.stopped else self.quarantine_pools()
        return {
            **({} if self.stopped else self.organ_shortfalls()),
            **self._shortfalls({f"quarantined {skill}": (pool.id, 1) for skill, pool in alone.items()}),
            **self._shortfalls(
                {f"workers {QUEUE_OF_POOL[pool]}": (pool, count) for pool, count in self.wanted_workers().items()}
            ),
        }

    def _shortfalls(self, minimum: Mapping[str, tuple[str, int]]) -> dict[str, str]:
        """What is missing, by the names of `minimum`, which has an organ or pool and its fewest hosts."""
        found = {}
        for name, (organ, fewest) in minimum.items():
            own = [host for host in self.hosts_of(organ) if host.drain_reason is None]
            if sum(host.alive for host in own) < fewest:
                reasons = "; ".join(f"{host.name}: {host.reason}" for host in own if not host.alive)
                found[name] = reasons or "no host is planned yet"
        return found

    @property
    def settled(self) -> bool:
        """True when there is nothing to do about organs: every one with hosts of its own has its number, each current
        and alive, and no other has any; none at all when the organism is stopped. Workers do not count."""
        if self.stopped:
            return all(host.is_worker for host in self.hosts.values())
        organs = {name: organ for name, organ in self.organs.items() if organ.spec.own_hosts}
        hosts = [host for host in self.hosts.values() if not host.organ.startswith(RESERVED)]
        counts = Counter(host.organ for host in hosts)
        return (
            bool(self.organs)
            and counts.keys() == organs.keys()
            and all(o.spec.min_hosts <= counts[name] <= o.spec.max_hosts for name, o in organs.items())
            and all(host.takes_tasks and host.fingerprint == self.fingerprint(organs[host.organ]) for host in hosts)
        )

    def skill_organs(self) -> dict[str, str]:
        """The organ that runs each skill; a quarantined one stays with its organ."""
        return organ_of_skills({name: organ.spec for name, organ in self.organs.items()}, self.declared.organ)

    def routing_table(self) -> RoutingTable:
        """The routing table of this epoch, built once. While the organism is stopped, no agent is in it."""
        if self._table is None or self._table["epoch"] != self.epoch:
            alone = self.quarantine_pools()
            organs = self.organs | {pool.id: pool for pool in alone.values()}
            homes = {name: () if self.stopped else self.homes(organ) for name, organ in organs.items()}
            skills = self.skill_organs() | {skill: pool.id for skill, pool in alone.items()}
            self._table = build_routing_table(
                self.epoch,
                {name: own for name, (_, own) in self.members().items()},
                {name: [host.name for host in hosts] for name, hosts in homes.items()},
                self.lifecycle,
                replace(self.declared, organ=skills),
                nodes={host.name: host.node for host in self.hosts.values()},
                shared={name: organ.spec for name, organ in organs.items() if not organ.spec.own_hosts},
                workers=[host.name for host in self.hosts_of(DEFAULT_POOL, keep_agents=True)],
            )
        return self._table

    def type_routes(self) -> TypeRoutes:
        """The routes of task types and domains of this epoch, computed once."""
        if self._routes is None or self._routes.epoch != self.epoch:
            self._routes = TypeRoutes.of(self.epoch, self.skill_organs(), self.organs)
        return self._routes

    def members(self) -> Mapping[str, tuple[int, OrganMembers]]:
        """Version and agents of every organ, those of quarantined skills included, computed once a version."""
        organs = self.organs | {pool.id: pool for pool in self.quarantine_pools().values()}
        for name, organ in organs.items():
            known = self._members.get(name)
            if known is None or known[0] != organ.version:
                self._members[name] = (organ.version, OrganMembers.of(name, organ.spec, organ.roster))
        self._members = {name: self._members[name] for name in organs}
        return self._members
