"""Building the routing table: which organ runs which skill, and which agents live on which hosts, by columns."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from seedcore.decision.routing_table import OrganColumns, RoutingTable
from seedcore.fleet.agent_lifecycle import Stage
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster
from seedcore.organism.routing.placement import Keys, keys_of, place
from seedcore.skills.skill_decorator import SkillSpec


class LivingAgent(TypedDict):
    """A living agent as a record, for people."""

    id: str
    organ: str
    host: str
    lifecycle: str


@dataclass(slots=True)
class OrganMembers:
    """An organ's agents: their ids, and the hash keys that place them on hosts."""

    ids: tuple[str, ...]
    keys: Keys
    _placed: tuple[tuple[str, ...], list[int]] | None = None

    @classmethod
    def of(cls, organ: str, spec: OrganSpec, roster: Roster) -> "OrganMembers":
        """The agents that an organ is to have."""
        ids = roster.agent_ids(organ, spec)
        return cls(ids, keys_of(ids))

    def homes(self, hosts: Sequence[str]) -> list[int]:
        """The index in `hosts` of each agent's host; computed again only when `hosts` changed."""
        if self._placed is None or self._placed[0] != tuple(hosts):
            self._placed = tuple(hosts), place(self.keys, hosts).tolist()
        return self._placed[1]


@dataclass(frozen=True, slots=True)
class SkillDeclarations:
    """What skills declare.

    Attributes:
        organ: the organ that each skill names.
        timeout_s: the time limit of those that set one.
        approval_s: those that need a person's approval, and how long their tasks wait (seconds; None: the default).
    """

    organ: Mapping[str, str]
    timeout_s: Mapping[str, float]
    approval_s: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, specs: Collection[SkillSpec]) -> "SkillDeclarations":
        """What these skills declare."""
        return cls(
            {spec.name: spec.organ for spec in specs},
            {spec.name: spec.timeout_s for spec in specs if spec.timeout_s is not None},
            {spec.name: spec.approval_s for spec in specs if spec.approval},
        )


def build_routing_table(
    epoch: int,
    members: Mapping[str, OrganMembers],
    hosts: Mapping[str, Sequence[str]],
    lifecycle: Mapping[str, str],
    skills: SkillDeclarations,
    nodes: Mapping[str, str | None] | None = None,
    shared: Mapping[str, OrganSpec] | None = None,
    workers: Sequence[str] = (),
) -> RoutingTable:
    """Build the table that `GET /organism/fleet` answers.

    Args:
        epoch: changes whenever the content does.
        members: agents of each organ.
        hosts: living hosts of each organ that take tasks; an organ without any has no agents in the table.
        lifecycle: stage of the agents that have a row; others are scouts.
        skills: what skills declare, `organ` being the organ that runs each now.
        nodes: the node of each host, where it is known.
        shared: the organs whose agents live in workers; their limits and roles are in the table.
        workers: the living workers on the queue `default`.
    """
    organs = {name: _columns(own, sorted(hosts.get(name, ())), lifecycle, nodes or {}) for name, own in members.items()}
    for name, spec in (shared or {}).items():
        organs[name]["limits"] = spec.limits.model_dump(exclude_none=True)
        organs[name]["roles"] = dict(spec.roles)
    return RoutingTable(
        epoch=epoch,
        skills=dict(skills.organ),
        timeouts=dict(skills.timeout_s),
        approvals=dict(skills.approval_s),
        organs=organs,
        workers=sorted(workers),
    )


def _columns(
    members: OrganMembers, hosts: Sequence[str], lifecycle: Mapping[str, str], nodes: Mapping[str, str | None]
) -> OrganColumns:
    if not hosts:
        return OrganColumns(hosts=[], nodes=[], agents=[], host=[], scouts=[], archived=[])
    # An agent without a row has never worked: a scout.
    stages = [lifecycle.get(agent, Stage.SCOUT) for agent in members.ids]
    return OrganColumns(
        hosts=list(hosts),
        nodes=[nodes.get(host) for host in hosts],
        agents=list(members.ids),
        host=members.homes(hosts),
        scouts=[n for n, stage in enumerate(stages) if stage == Stage.SCOUT],
        archived=[n for n, stage in enumerate(stages) if stage == Stage.ARCHIVED],
    )


def living_agents(table: RoutingTable, organ_ids: Iterable[str] | None = None) -> list[LivingAgent]:
    """The agents of the table as records; only those of `organ_ids` when given."""
    found: list[LivingAgent] = []
    for organ, own in table["organs"].items():
        if organ_ids is not None and organ not in organ_ids:
            continue
        stages = {**dict.fromkeys(own["scouts"], Stage.SCOUT), **dict.fromkeys(own["archived"], Stage.ARCHIVED)}
        for n, (agent, host) in enumerate(zip(own["agents"], own["host"], strict=True)):
            stage = stages.get(n, Stage.EMPLOYED).value
            found.append(LivingAgent(id=agent, organ=organ, host=own["hosts"][host], lifecycle=stage))
    return found
