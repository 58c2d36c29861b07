"""Organs, hosts, routes and evolutions in the shapes that go over the wire."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from pydantic import ValidationError

from seedcore.errors import InvalidInputError, NotFoundError, wrong_fields
from seedcore.organism.control.host import Host
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.desired.evolution_repository import EvolutionRow
from seedcore.organism.routing.type_routes import TypeRoutes
from seedcore.schemas.organism import EvolutionRecord, HostStatus, OrganModel, OrganStatus, ResolveRoute, RouteAnswer


def organ_model(organ: Organ, skills: Mapping[str, str]) -> OrganModel:
    """The desired state of an organ; `skills` has the organ of each skill."""
    own = sorted(name for name, home in skills.items() if home == organ.id)
    from_file = organ.file_hash is not None
    return OrganModel(id=organ.id, version=organ.version, from_file=from_file, spec=organ.spec, skills=own)


def organ_status(
    organ: Organ,
    hosts: Mapping[str, Host],
    skills: Mapping[str, str],
    fingerprint: str,
    running: Callable[[str], int | None],
) -> OrganStatus:
    """The observed state of an organ.

    Args:
        organ: its desired state.
        hosts: all hosts.
        skills: the organ of each skill.
        fingerprint: of a host that would be created for it now.
        running: tasks that a host has in hand, where that is known.
    """
    own = [host for host in hosts.values() if host.organ == organ.id]
    living = sum(host.takes_tasks for host in own)
    return OrganStatus(
        version=organ.version,
        desired_agents=organ.spec.agents,
        living_agents=organ.spec.agents if living else 0,
        desired_hosts=organ.spec.hosts,
        living_hosts=living,
        skills=sorted(name for name, home in skills.items() if home == organ.id),
        hosts=[_host_status(host, fingerprint, running(host.name)) for host in own],
    )


def _host_status(host: Host, fingerprint: str, running: int | None) -> HostStatus:
    return HostStatus(
        name=host.name,
        organ=host.organ,
        alive=host.alive,
        reason=host.reason,
        node=host.node,
        draining=host.drain_reason,
        outdated=host.fingerprint != fingerprint,
        running=running,
    )


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
