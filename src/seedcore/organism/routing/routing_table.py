"""The routing table: which organ runs what, and who lives where, by columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster
from seedcore.organism.routing.placement import Keys, keys_of, place

SCOUT, EMPLOYED, ARCHIVED = "scout", "employed", "archived"


@dataclass(slots=True)
class Members:
    """An organ's agents: their ids, and the numbers that place them on hosts."""

    ids: tuple[str, ...]
    keys: Keys
    _placed: tuple[tuple[str, ...], list[int]] | None = None

    @classmethod
    def of(cls, organ: str, spec: OrganSpec, roster: Roster) -> "Members":
        """The agents that an organ ought to have."""
        ids = roster.agent_ids(organ, spec)
        return cls(ids, keys_of(ids))

    def homes(self, hosts: Sequence[str]) -> list[int]:
        """The place in `hosts` of each agent; worked out anew only for other hosts than the last time."""
        if self._placed is None or self._placed[0] != tuple(hosts):
            self._placed = tuple(hosts), place(self.keys, hosts).tolist()
        return self._placed[1]


@dataclass(frozen=True, slots=True)
class Skills:
    """What the registry tells of skills: the organ that runs each, the seconds that some declare, and those that need a
    person's approval, with the seconds that they wait for it (None: as long as others)."""

    organ: Mapping[str, str]
    timeout_s: Mapping[str, float]
    approval_s: Mapping[str, float | None] = field(default_factory=dict)


def build_table(
    epoch: int,
    members: Mapping[str, Members],
    hosts: Mapping[str, Sequence[str]],
    lifecycle: Mapping[str, str],
    skills: Skills,
    nodes: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """The table that `GET /organism/fleet` answers, in JSON types.

    Args:
        epoch: changes whenever the content does.
        members: agents of each organ.
        hosts: living hosts of each organ that take tasks; an organ without any has no agents in the table.
        lifecycle: of the agents that have worked; others are scouts.
        skills: see `Skills`.
        nodes: the node of each host, where it is known.

    Returns:
        `{epoch, skills: {skill: organ}, timeouts: {skill: seconds}, approvals: {skill: seconds or null},
        organs: {organ: {hosts: [name], nodes: [node or null], agents: [id],
        host: [place in hosts], scouts: [place in agents], archived: [place in agents]}}}`
    """
    organs = {name: _organ(own, sorted(hosts.get(name, ())), lifecycle, nodes or {}) for name, own in members.items()}
    declared = {"timeouts": dict(skills.timeout_s), "approvals": dict(skills.approval_s)}
    return {"epoch": epoch, "skills": dict(skills.organ), **declared, "organs": organs}


def _organ(
    members: Members, hosts: Sequence[str], lifecycle: Mapping[str, str], nodes: Mapping[str, str | None]
) -> dict[str, Any]:
    if not hosts:
        return {"hosts": [], "nodes": [], "agents": [], "host": [], "scouts": [], "archived": []}
    # Who has never worked has no row yet: a scout.
    stages = [lifecycle.get(agent, SCOUT) for agent in members.ids]
    return {
        "hosts": list(hosts),
        "nodes": [nodes.get(host) for host in hosts],
        "agents": list(members.ids),
        "host": members.homes(hosts),
        "scouts": [n for n, stage in enumerate(stages) if stage == SCOUT],
        "archived": [n for n, stage in enumerate(stages) if stage == ARCHIVED],
    }


def agents_of(table: Mapping[str, Any], organ_ids: Iterable[str] | None = None) -> list[dict[str, str]]:
    """Living agents as records, for people: id, organ, host, lifecycle."""
    found = []
    for organ, own in table["organs"].items():
        if organ_ids is not None and organ not in organ_ids:
            continue
        stage = {**dict.fromkeys(own["scouts"], SCOUT), **dict.fromkeys(own["archived"], ARCHIVED)}
        for n, (agent, host) in enumerate(zip(own["agents"], own["host"], strict=True)):
            lifecycle = stage.get(n, EMPLOYED)
            found.append({"id": agent, "organ": organ, "host": own["hosts"][host], "lifecycle": lifecycle})
    return found
