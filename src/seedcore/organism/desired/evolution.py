"""Evolution: splitting and merging organs, cloning and retiring agents. Pure: from desired state to desired state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.fleet.organ_spec import HOSTS_REFUSED, HostRange
from seedcore.organism.desired.desired_state import Organ, present
from seedcore.schemas.organism import Clone, Evolution, Merge, Retire, Split

MAX_AGENTS = 100_000


@dataclass(frozen=True, slots=True)
class EvolutionPlan:
    """What an evolution changes.

    Attributes:
        organs: the organs to store.
        before: agents whose energy is measured before it, and `after` those after it.
        clones: for each new agent the one that it starts as.
    """

    organs: tuple[Organ, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    clones: Mapping[str, str] = field(default_factory=dict)


def plan_evolution(
    organs: Mapping[str, Organ], skills: Mapping[str, str], declared: Mapping[str, str], request: Evolution
) -> EvolutionPlan:
    """Plan an evolution.

    Args:
        organs: every organ, removed ones included.
        skills: the organ that runs each skill now.
        declared: the organ that each skill declares for itself.
        request: what is asked for.

    Raises:
        NotFoundError: an organ or agent does not exist.
        InvalidInputError: the request does not fit them.
        ConflictError: it would leave an organ without agents or skills.
    """
    match request:
        case Split():
            return _split(organs, skills, request)
        case Merge():
            return _merge(organs, skills, declared, request)
        case Clone():
            return _clone(organs, request)
        case Retire():
            return _retire(organs, request)
    raise AssertionError(request)


def _split(organs: Mapping[str, Organ], skills: Mapping[str, str], request: Split) -> EvolutionPlan:
    source, into = _get(organs, request.organ_id), organs.get(request.into)
    if into is not None and not into.removed:
        raise ConflictError(f"Organ {request.into!r} already exists: choose another name, or merge.")
    if request.hosts is not None and not source.spec.own_hosts:
        raise InvalidInputError.for_field("hosts", HOSTS_REFUSED)
    own = {name for name, organ in skills.items() if organ == source.id}
    if foreign := sorted(set(request.skills) - own):
        message = f"organ {source.id!r} does not have {', '.join(foreign)}; it has {_list(own)}"
        raise InvalidInputError.for_field("skills", message)
    if own == set(request.skills):
        raise ConflictError(f"Organ {source.id!r} would be left without a skill; it has {_list(own)}.")
    ids = source.agent_ids
    count = request.agents or len(ids) // 2
    if not 0 < count < len(ids):
        raise ConflictError(
            f"Organ {source.id!r} has {len(ids)} agents: it cannot give {count} away and keep at least one."
        )
    # Evenly spread: both sides get agents that joined early and late.
    moved = [ids[n * len(ids) // count] for n in range(count)]
    spec = source.spec
    hosts = HostRange(min=min(spec.hosts.min, count), max=spec.hosts.max)
    new_spec = spec.model_copy(
        update={"skills": sorted(request.skills), "domains": [], "agents": count, "hosts": request.hosts or hosts}
    )
    left = spec.model_copy(
        update={"agents": len(ids) - count, "skills": [name for name in spec.skills if name not in request.skills]}
    )
    target = into or Organ(request.into, new_spec, version=0)
    made = target.changed(new_spec, target.roster.joined_by(moved))
    return EvolutionPlan((source.changed(left, source.roster.without(moved)), made), ids, ids)


def _merge(
    organs: Mapping[str, Organ], skills: Mapping[str, str], declared: Mapping[str, str], request: Merge
) -> EvolutionPlan:
    source, into = _get(organs, request.organ_id), _get(organs, request.into)
    if source.id == into.id:
        raise InvalidInputError.for_field("into", "an organ cannot be merged into itself")
    moved, kept = source.agent_ids, into.agent_ids
    _check_size(into, len(moved) + len(kept))
    a, b = source.spec, into.spec
    runs = sorted(name for name, organ in skills.items() if organ == source.id and declared.get(name) != into.id)
    merged = b.model_copy(
        update={
            "agents": len(moved) + len(kept),
            "skills": [*b.skills, *(name for name in runs if name not in b.skills)],
            "domains": [*b.domains, *(name for name in a.domains if name not in b.domains)],
            "hosts": HostRange(min=max(a.hosts.min, b.hosts.min), max=min(1000, a.hosts.max + b.hosts.max)),
            "isolation": "process" if "process" in (a.isolation, b.isolation) else "shared",
            "num_cpus": max(a.num_cpus, b.num_cpus),
            "num_gpus": max(a.num_gpus, b.num_gpus),
            "resources": {n: max(a.resources.get(n, 0), b.resources.get(n, 0)) for n in {**a.resources, **b.resources}},
            "roles": {**a.roles, **b.roles},
        }
    )
    gone = source.changed(roster=source.roster.without(moved), removed=True)
    return EvolutionPlan((gone, into.changed(merged, into.roster.joined_by(moved))), (*kept, *moved), (*kept, *moved))


def _clone(organs: Mapping[str, Organ], request: Clone) -> EvolutionPlan:
    organ = _organ_of_agent(organs, request.agent)
    ids = organ.agent_ids
    _check_size(organ, len(ids) + request.count)
    taken = {name for other in organs.values() for name in (*other.roster.extra, *other.roster.gone)}
    new: list[str] = []
    number = 0
    while len(new) < request.count:
        number += 1
        name = f"{request.agent}-c{number}"
        if name not in taken:
            new.append(name)
    spec = organ.spec.model_copy(update={"agents": len(ids) + request.count})
    changed = organ.changed(spec, organ.roster.joined_by(new))
    return EvolutionPlan((changed,), ids, (*ids, *new), dict.fromkeys(new, request.agent))


def _retire(organs: Mapping[str, Organ], request: Retire) -> EvolutionPlan:
    leaving: dict[str, list[str]] = {}
    for agent in dict.fromkeys(request.agents):
        leaving.setdefault(_organ_of_agent(organs, agent).id, []).append(agent)
    changed: list[Organ] = []
    before: list[str] = []
    after: list[str] = []
    for name, agents in leaving.items():
        organ = organs[name]
        ids = organ.agent_ids
        if len(agents) == len(ids):
            raise ConflictError(f"Organ {name!r} would be left without an agent.")
        spec = organ.spec.model_copy(update={"agents": len(ids) - len(agents)})
        later = organ.changed(spec, organ.roster.without(agents))
        changed.append(later)
        before += ids
        after += later.agent_ids
    return EvolutionPlan(tuple(changed), tuple(before), tuple(after))


def undo_evolution(
    organs: Mapping[str, Organ], before: Mapping[str, Organ | None], after: Mapping[str, int]
) -> list[Organ]:
    """The organs to store to undo an evolution.

    Args:
        organs: every organ as it is.
        before: the organs as they were before it; None where there was none of that name.
        after: their versions right after it.

    Raises:
        ConflictError: an organ has been changed since; names it.
    """
    for name, version in after.items():
        if organs[name].version != version:
            raise ConflictError(
                f"Organ {name!r} has been changed since (version {organs[name].version}, it was {version}): "
                "undo the later changes first, or change it back with PUT."
            )
    restored = []
    for name, earlier in before.items():
        now = organs[name]
        if earlier is None:
            restored.append(now.changed(roster=now.roster.without(now.agent_ids), removed=True))
        else:
            restored.append(replace(earlier, version=now.version + 1, file_hash=now.file_hash))
    return restored


def _get(organs: Mapping[str, Organ], name: str) -> Organ:
    organ = organs.get(name)
    if organ is None or organ.removed:
        raise NotFoundError(f"There is no organ {name!r}. Known: {_list(present(organs))}.")
    return organ


def _organ_of_agent(organs: Mapping[str, Organ], agent: str) -> Organ:
    found = next((organ for organ in present(organs).values() if agent in organ.agent_ids), None)
    if found is None:
        raise NotFoundError(f"There is no agent {agent!r}; GET /organism/agents lists them.")
    return found


def _check_size(organ: Organ, agents: int) -> None:
    if agents > MAX_AGENTS:
        raise ConflictError(f"Organ {organ.id!r} would have {agents} agents; at most {MAX_AGENTS} are allowed.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
