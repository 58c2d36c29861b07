"""Evolution: organs split and merged, agents cloned and retired. Pure: from what ought to be to what ought to be."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.fleet.organ_spec import HostRange
from seedcore.organism.desired.desired_state import Organ, present
from seedcore.schemas.organism import Clone, Evolution, Merge, Retire, Split

MOST_AGENTS = 100_000


@dataclass(frozen=True, slots=True)
class Change:
    """What an evolution does.

    Attributes:
        organs: the organs to store.
        before: agents whose energy is measured before it, and `after` those after it.
        clones: for each new agent the one that it starts as.
    """

    organs: tuple[Organ, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    clones: Mapping[str, str] = field(default_factory=dict)


def evolve(
    organs: Mapping[str, Organ], skills: Mapping[str, str], declared: Mapping[str, str], do: Evolution
) -> Change:
    """Work out a change.

    Args:
        organs: every organ, removed ones included.
        skills: the organ that runs each skill now.
        declared: the organ that each skill declares for itself.
        do: what to do.

    Raises:
        NotFoundError: an organ or agent is not there.
        InvalidInputError: what is asked makes no sense for them.
        ConflictError: it would leave an organ without agents or skills.
    """
    match do:
        case Split():
            return _split(organs, skills, do)
        case Merge():
            return _merge(organs, skills, declared, do)
        case Clone():
            return _clone(organs, do)
        case Retire():
            return _retire(organs, do)
    raise AssertionError(do)


def _split(organs: Mapping[str, Organ], skills: Mapping[str, str], do: Split) -> Change:
    source, into = _get(organs, do.organ_id), organs.get(do.into)
    if into is not None and not into.removed:
        raise ConflictError(f"There is an organ {do.into!r} already: choose another name, or merge.")
    own = {name for name, organ in skills.items() if organ == source.id}
    if foreign := sorted(set(do.skills) - own):
        raise InvalidInputError(f"skills: organ {source.id!r} does not have {', '.join(foreign)}; it has {_list(own)}.")
    if own == set(do.skills):
        raise ConflictError(f"Organ {source.id!r} would be left without a skill; it has {_list(own)}.")
    ids = source.agent_ids
    count = do.agents or len(ids) // 2
    if not 0 < count < len(ids):
        raise ConflictError(f"Organ {source.id!r} has {len(ids)} agents: it cannot give {count} away and keep one.")
    # Evenly among them: those who moved in early and late are on both sides.
    moved = [ids[n * len(ids) // count] for n in range(count)]
    spec = source.spec
    hosts = HostRange(min=min(spec.hosts.min, count), max=spec.hosts.max)
    new_spec = spec.model_copy(
        update={"skills": sorted(do.skills), "domains": [], "agents": count, "hosts": do.hosts or hosts}
    )
    left = spec.model_copy(
        update={"agents": len(ids) - count, "skills": [name for name in spec.skills if name not in do.skills]}
    )
    target = into or Organ(do.into, new_spec, version=0)
    made = target.changed(new_spec, target.roster.joined_by(moved))
    return Change((source.changed(left, source.roster.without(moved)), made), ids, ids)


def _merge(organs: Mapping[str, Organ], skills: Mapping[str, str], declared: Mapping[str, str], do: Merge) -> Change:
    source, into = _get(organs, do.organ_id), _get(organs, do.into)
    if source.id == into.id:
        raise InvalidInputError("into: an organ cannot be merged into itself.")
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
            "num_cpus": max(a.num_cpus, b.num_cpus),
            "num_gpus": max(a.num_gpus, b.num_gpus),
            "resources": {n: max(a.resources.get(n, 0), b.resources.get(n, 0)) for n in {**a.resources, **b.resources}},
            "roles": {**a.roles, **b.roles},
        }
    )
    gone = source.changed(roster=source.roster.without(moved), removed=True)
    return Change((gone, into.changed(merged, into.roster.joined_by(moved))), (*kept, *moved), (*kept, *moved))


def _clone(organs: Mapping[str, Organ], do: Clone) -> Change:
    organ = _organ_of_agent(organs, do.agent)
    ids = organ.agent_ids
    _check_size(organ, len(ids) + do.count)
    taken = {name for other in organs.values() for name in (*other.roster.extra, *other.roster.gone)}
    new: list[str] = []
    number = 0
    while len(new) < do.count:
        number += 1
        name = f"{do.agent}-c{number}"
        if name not in taken:
            new.append(name)
    spec = organ.spec.model_copy(update={"agents": len(ids) + do.count})
    changed = organ.changed(spec, organ.roster.joined_by(new))
    return Change((changed,), ids, (*ids, *new), dict.fromkeys(new, do.agent))


def _retire(organs: Mapping[str, Organ], do: Retire) -> Change:
    leaving: dict[str, list[str]] = {}
    for agent in dict.fromkeys(do.agents):
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
    return Change(tuple(changed), tuple(before), tuple(after))


def undone(organs: Mapping[str, Organ], before: Mapping[str, Organ | None], after: Mapping[str, int]) -> list[Organ]:
    """The organs to store so that an evolution is undone.

    Args:
        organs: every organ as it is.
        before: the organs as they were before it; None: there was none of that name.
        after: their versions right after it.

    Raises:
        ConflictError: an organ has been changed since; names it.
    """
    for name, version in after.items():
        if organs[name].version != version:
            raise ConflictError(
                f"Organ {name!r} has been changed since (version {organs[name].version}, it was {version}): "
                "undo what came later first, or change it back with PUT."
            )
    back = []
    for name, then in before.items():
        now = organs[name]
        if then is None:
            back.append(now.changed(roster=now.roster.without(now.agent_ids), removed=True))
        else:
            back.append(replace(then, version=now.version + 1, file_hash=now.file_hash))
    return back


def _get(organs: Mapping[str, Organ], name: str) -> Organ:
    organ = organs.get(name)
    if organ is None or organ.removed:
        raise NotFoundError(f"There is no organ {name!r}. Known: {_list(present(organs))}.")
    return organ


def _organ_of_agent(organs: Mapping[str, Organ], agent: str) -> Organ:
    found = _first(present(organs).values(), lambda organ: agent in organ.agent_ids)
    if found is None:
        raise NotFoundError(f"There is no agent {agent!r}; GET /organism/agents lists them.")
    return found


def _first(organs: Iterable[Organ], fits: Callable[[Organ], Any]) -> Organ | None:
    return next((organ for organ in organs if fits(organ)), None)


def _check_size(organ: Organ, agents: int) -> None:
    if agents > MOST_AGENTS:
        raise ConflictError(f"Organ {organ.id!r} would have {agents} agents; at most {MOST_AGENTS} are allowed.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
