"""How many hosts a forecast calls for: the organs of the types that come, and how long their tasks take."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from seedcore.errors import SeedCoreError
from seedcore.pricing.host_need import hosts_needed
from seedcore.schemas.ml.scaling import HostNeed
from seedcore.schemas.organism import OrganStatus


class OrganismReads(Protocol):
    """What is asked of the Organism: its client."""

    async def resolve_routes(self, items: Sequence[Mapping[str, object]], /) -> dict[str, JsonValue]:
        """The organ of each type."""

    async def status(self) -> Mapping[str, object]:
        """Organs and their hosts."""

    async def organs(self) -> list[dict[str, JsonValue]]:
        """The desired state of every organ."""


async def host_needs(
    organism: OrganismReads, arriving: Mapping[str, int], seconds: Mapping[str, float], per_s: float, slots: int
) -> tuple[list[HostNeed], list[str]]:
    """The hosts that are wanted, by organ; and what could not be known.

    Args:
        organism: who knows organs.
        arriving: tasks of each type that came lately: what the forecast is shared out by.
        seconds: mean seconds of a task, by type.
        per_s: tasks a second of all types together that hosts are wanted for.
        slots: tasks that a host runs at once where its organ says nothing.
    """
    types, total = list(arriving), sum(arriving.values())
    if not total:
        return [], ["no task came in the last day: which organs would run them is not known"]
    try:
        routes = (await organism.resolve_routes([{"type": name} for name in types]))["items"]
        organs = {
            name: OrganStatus.model_validate(organ) for name, organ in _objects((await organism.status())["organs"])
        }
        specs = {str(organ["id"]): organ["spec"] for organ in await organism.organs()}
    except SeedCoreError as error:
        return [], [f"the organism does not say which hosts there are: {error.detail}"]
    loads: dict[str, float] = defaultdict(float)
    unknown: dict[str, list[str]] = defaultdict(list)
    homeless: list[str] = []
    for name, route in zip(types, routes if isinstance(routes, list) else [], strict=True):
        organ = route.get("organ_id") if isinstance(route, dict) else None
        if not isinstance(organ, str) or organ not in organs:
            homeless.append(name)
        elif name in seconds:
            loads[organ] += per_s * arriving[name] / total * seconds[name]
        else:
            unknown[organ].append(name)
    needs = []
    for organ in sorted({*loads, *unknown}):
        status = organs[organ]
        why = f"no {', '.join(sorted(unknown[organ]))} has completed lately" if unknown[organ] else None
        load, wanted = None, None
        if why is None:
            load = loads[organ]
            wanted = hosts_needed(load, _slots(specs.get(organ), slots))
            if status.desired_hosts is not None:
                wanted = min(max(wanted, status.desired_hosts.min), status.desired_hosts.max)
            wanted = max(wanted, 1)
        shared = status.desired_hosts is None
        needs.append(HostNeed(organ=organ, now=status.living_hosts, wanted=wanted, shared=shared, load=load, why=why))
    notes = [f"no organ runs {', '.join(sorted(homeless))}"] if homeless else []
    return needs, notes


def _objects(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _slots(spec: object, default: int) -> int:
    limits = spec.get("limits") if isinstance(spec, dict) else None
    own = limits.get("host_concurrency") if isinstance(limits, dict) else None
    return own if isinstance(own, int) and own > 0 else default
