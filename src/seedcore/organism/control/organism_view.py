"""What this replica knows of the organism: desired organs, observed hosts, and the routing table made of both.

The control loop writes it, the service answers from it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from seedcore.decision.routing_table import RoutingTable
from seedcore.errors import NotFoundError
from seedcore.fleet.organ_spec import organ_of_skills
from seedcore.organism.control.host import Host
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.routing.table_builder import OrganMembers, SkillDeclarations, build_routing_table
from seedcore.organism.routing.type_routes import TypeRoutes


@dataclass(slots=True)
class OrganismView:
    """One replica's knowledge; it answers for the epoch that it has seen last.

    Attributes:
        declared: what skills declare.
        fingerprint: of a host that would be created for an organ now.
        lifecycle: stage of each agent that has a row.
        organs: the desired organs.
        unreadable: organs that another version wrote: the last known specification applies, and their hosts stay.
        hosts: the planned hosts as last observed.
        stopped: no host is to run.
        epoch: changes whenever the routing table does.
    """

    declared: SkillDeclarations
    fingerprint: Callable[[Organ], str]
    lifecycle: Mapping[str, str] = field(default_factory=dict)
    organs: dict[str, Organ] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
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

    @property
    def complete(self) -> bool:
        """True when there are organs and every one has its minimum of living hosts that take tasks."""
        return not self.stopped and bool(self.organs) and not self.shortfalls()

    def shortfalls(self) -> dict[str, str]:
        """Organs that have fewer living hosts than their minimum, and what is known of the missing ones."""
        found = {}
        for name, organ in self.organs.items():
            own = [host for host in self.hosts.values() if host.organ == name and host.drain_reason is None]
            if sum(host.alive for host in own) < organ.spec.min_hosts:
                reasons = "; ".join(f"{host.name}: {host.reason}" for host in own if not host.alive)
                found[name] = reasons or "no host is planned yet"
        for name in self.unreadable - self.organs.keys():
            found[name] = "was stored by another version, and this one cannot read it; its hosts keep running"
        return found

    @property
    def settled(self) -> bool:
        """True when there is nothing to do: every organ has its number of hosts, each current and alive; none when
        the organism is stopped."""
        if self.stopped:
            return not self.hosts
        counts = Counter(host.organ for host in self.hosts.values())
        return (
            bool(self.organs)
            and counts.keys() == self.organs.keys()
            and all(o.spec.min_hosts <= counts[name] <= o.spec.max_hosts for name, o in self.organs.items())
            and all(
                host.takes_tasks and host.fingerprint == self.fingerprint(self.organs[host.organ])
                for host in self.hosts.values()
            )
        )

    def skill_organs(self) -> dict[str, str]:
        """The organ that runs each skill."""
        return organ_of_skills({name: organ.spec for name, organ in self.organs.items()}, self.declared.organ)

    def routing_table(self) -> RoutingTable:
        """The routing table of this epoch, built once."""
        if self._table is None or self._table["epoch"] != self.epoch:
            living: dict[str, list[str]] = {name: [] for name in self.organs}
            for host in self.hosts.values():
                if host.takes_tasks and host.organ in living:
                    living[host.organ].append(host.name)
            nodes = {host.name: host.node for host in self.hosts.values()}
            skills = SkillDeclarations(self.skill_organs(), self.declared.timeout_s, self.declared.approval_s)
            members = {name: own for name, (_, own) in self.members().items()}
            self._table = build_routing_table(self.epoch, members, living, self.lifecycle, skills, nodes)
        return self._table

    def type_routes(self) -> TypeRoutes:
        """The routes of task types and domains of this epoch, computed once."""
        if self._routes is None or self._routes.epoch != self.epoch:
            self._routes = TypeRoutes.of(self.epoch, self.skill_organs(), self.organs)
        return self._routes

    def members(self) -> Mapping[str, tuple[int, OrganMembers]]:
        """Version and agents of every organ, computed once a version."""
        for name, organ in self.organs.items():
            known = self._members.get(name)
            if known is None or known[0] != organ.version:
                self._members[name] = (organ.version, OrganMembers.of(name, organ.spec, organ.roster))
        self._members = {name: self._members[name] for name in self.organs}
        return self._members
