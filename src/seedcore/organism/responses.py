"""Organs, hosts, routes and evolutions in the shapes that go over the wire."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from pydantic import ValidationError

from seedcore.errors import InvalidInputError, NotFoundError, wrong_fields
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.organism.control.host import DEFAULT_POOL, GRAPH_POOL, POOL_OF_QUEUE, QUEUE_OF_POOL, Host
from seedcore.organism.control.organism_view import OrganismView
from seedcore.organism.control.reserved_pools import quarantine_id
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.desired.evolution_repository import EvolutionRow
from seedcore.organism.routing.type_routes import TypeRoutes
from seedcore.schemas.organism import (
    EvolutionRecord,
    HostStatus,
    OrganModel,
    OrganStatus,
    QuarantineItem,
    ResolveRoute,
    RouteAnswer,
    WorkerPoolStatus,
    WorkersStatus,
)

ShowHost = Callable[[Host, str], HostStatus]
"""Shows a host as one of the organ or pool of this id."""


def organ_model(organ: Organ, skills: Mapping[str, str]) -> OrganModel:
    """The desired state of an organ; `skills` has the organ of each skill."""
    own = sorted(name for name, home in skills.items() if home == organ.id)
    from_file = organ.file_hash is not None
    return OrganModel(id=organ.id, version=organ.version, from_file=from_file, spec=organ.spec, skills=own)


def host_shower(view: OrganismView, running: Callable[[str], int | None]) -> ShowHost:
    """What shows hosts as they are known now; `running` has the tasks in hand of those where that is known."""
    current = {pool.id: view.fingerprint(pool) for pool in [*view.organs.values(), *view.pools().values()]}

    def show(host: Host, organ: str) -> HostStatus:
        return HostStatus(
            name=host.name,
            organ=organ,
            alive=host.alive,
            reason=host.reason,
            node=host.node,
            draining=host.drain_reason,
            outdated=host.fingerprint != current.get(host.organ),
            running=running(host.name),
        )

    return show


def organ_status(organ: Organ, view: OrganismView, skills: Mapping[str, str], show: ShowHost) -> OrganStatus:
    """The observed state of an organ.

    Args:
        organ: its desired state.
        view: what is known of hosts and workers.
        skills: the organ of each skill.
        show: see `host_shower`.
    """
    own_hosts = organ.spec.own_hosts
    living = 0 if view.stopped else len(view.homes(organ))
    hosts = [*view.hosts_of(organ.id), *([] if own_hosts else view.hosts_of(POOL_OF_QUEUE[organ.spec.queue]))]
    return OrganStatus(
        version=organ.version,
        desired_agents=organ.spec.agents,
        living_agents=organ.spec.agents if living else 0,
        desired_hosts=organ.spec.hosts if own_hosts else None,
        living_hosts=living,
        skills=sorted(name for name, home in skills.items() if home == organ.id),
        hosts=[show(host, organ.id) for host in hosts],
    )


def workers_status(view: OrganismView, show: ShowHost) -> WorkersStatus:
    """The workers of both queues."""
    wanted = view.wanted_workers()

    def status(pool: str) -> WorkerPoolStatus:
        workers = view.hosts_of(pool)
        names = [worker.name for worker in workers if worker.takes_tasks]
        shown = [show(worker, QUEUE_OF_POOL[pool]) for worker in workers]
        return WorkerPoolStatus(desired=wanted[pool], alive=len(names), names=names, workers=shown)

    return WorkersStatus(default=status(DEFAULT_POOL), graph=status(GRAPH_POOL))


def quarantine_items(quarantined: Iterable[QuarantinedSkill], view: OrganismView) -> list[QuarantineItem]:
    """Quarantined skills, each with the host that it runs in."""
    found = []
    for item in quarantined:
        hosts = view.hosts_of(quarantine_id(item.skill), keep_agents=True)
        found.append(QuarantineItem(**item._asdict(), host=hosts[0].name if hosts else None))
    return found


def evolution_record(row: EvolutionRow) -> EvolutionRecord:
    """A stored evolution."""
    return EvolutionRecord.model_validate({**asdict(row), "organs": row.after})


def route_answer(routes: TypeRoutes, item: Mapping[str, object]) -> RouteAnswer:
    """The answer to one of many requests; an error of one is its own answer."""
    try:
        request = ResolveRoute.model_validate(item)
        organ, source = routes.resolve(request.type, request.domain)
    except ValidationError as error:
        wrong = wrong_fields(error.errors(include_url=False, include_input=False))
        detail = "; ".join(f"{e.field or '(item)'}: {e.message}" for e in wrong[:5])
        return RouteAnswer(error={"code": InvalidInputError.code, "detail": detail})
    except NotFoundError as error:
        return RouteAnswer(error={"code": error.code, "detail": error.detail})
    return RouteAnswer(organ_id=organ, resolved_from=source)


def if_match_version(if_match: str | None) -> int | None:
    """The version that If-Match names; None when it names none.

    Raises:
        InvalidInputError: it is not a version.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isdecimal():
        message = f"must be the version of the organ, as in its ETag, got {if_match!r}"
        raise InvalidInputError.for_field("If-Match", message)
    return int(text)
