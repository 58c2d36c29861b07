"""Organs that no file declares: pools of workers, and one for each quarantined skill. They live in the control loop."""

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from seedcore.fleet.host_limits import HostLimits
from seedcore.fleet.organ_spec import HostRange, OrganSpec
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.organism.control.host import DEFAULT_POOL, GRAPH_POOL, RESERVED
from seedcore.organism.desired.desired_state import Organ
from seedcore.schemas.organism import MAX_WORKERS, WorkerNumbers
from seedcore.settings import Settings

ONE_BY_ONE = HostLimits(agent_concurrency=1, host_concurrency=1, host_threads=1, host_processes=1)
_NOT_IN_IDS = re.compile(r"[^a-z0-9_]+")


def configured_workers(settings: Settings) -> WorkerNumbers:
    """How many workers the settings ask for."""
    return WorkerNumbers(
        default=settings.dispatchers, graph=settings.graph_dispatchers, per_node=settings.workers_per_node
    )


def wanted_workers(numbers: WorkerNumbers, nodes: int) -> dict[str, int]:
    """How many workers each pool is to have.

    Args:
        numbers: what is set.
        nodes: living nodes, which count where `per_node` is set.
    """
    default = numbers.default if numbers.per_node is None else min(numbers.per_node * nodes, MAX_WORKERS)
    return {DEFAULT_POOL: default, GRAPH_POOL: numbers.graph}


def worker_pools(numbers: WorkerNumbers, nodes: int) -> dict[str, Organ]:
    """The pools that are to have workers; see `wanted_workers`."""
    return {
        pool: Organ(pool, OrganSpec(agents=count, isolation="process", hosts=HostRange(min=count, max=count)))
        for pool, count in wanted_workers(numbers, nodes).items()
        if count
    }


def quarantine_pools(
    quarantined: Iterable[QuarantinedSkill], skills: Mapping[str, str], organs: Mapping[str, Organ]
) -> dict[str, Organ]:
    """For each quarantined skill the organ that it runs in: one agent, a host of its own, one task at a time.

    Args:
        quarantined: the skills; one that is not known here is left out.
        skills: the organ that runs each known skill otherwise; what that one reserves, this one reserves too.
        organs: the desired organs.
    """
    found = {}
    for skill in (item.skill for item in quarantined if item.skill in skills):
        home = organs.get(skills[skill])
        alone: dict[str, object] = {
            "description": f"The skill {skill} alone: it has ended processes.",
            "skills": [skill],
            "domains": [],
            "agents": 1,
            "isolation": "process",
            "hosts": HostRange(min=1, max=1),
            "limits": ONE_BY_ONE,
        }
        spec = (OrganSpec() if home is None else home.spec).model_copy(update=alone)
        found[skill] = Organ(quarantine_id(skill), spec)
    return found


def quarantine_id(skill: str) -> str:
    """The id of a quarantined skill's organ.

    A skill's name may be long and have any character; the digest distinguishes those that look alike without them.
    """
    readable = _NOT_IN_IDS.sub("-", skill.lower()).strip("-")[:40]
    return f"{RESERVED}alone-{readable}-{blake2b(skill.encode(), digest_size=4).hexdigest()}"
