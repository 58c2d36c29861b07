"""What the Organism tells of organs, hosts, routes and evolutions, in the shapes of its wire."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from seedcore.errors import InvalidInputError, NotFoundError, wrong_fields
from seedcore.organism.control.host import Host
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.routing.type_routes import RouteTable
from seedcore.schemas.organism import EvolutionRecord, HostStatus, OrganModel, OrganStatus, ResolveRoute, RouteAnswer


def organ_model(organ: Organ, skills: Mapping[str, str]) -> OrganModel:
    """What an organ ought to be; `skills` tells the organ of each skill."""
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
    """What there is of an organ.

    Args:
        organ: what it ought to be.
        hosts: all hosts.
        skills: the organ of each skill.
        fingerprint: what a host of it would be made with today.
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


def evolution(record: Mapping[str, Any]) -> EvolutionRecord:
    """A stored evolution."""
    return EvolutionRecord.model_validate({**record, "organs": record["after"]})


def route_answer(routes: RouteTable, item: Mapping[str, Any]) -> RouteAnswer:
    """The answer to one of many questions; what is wrong with it is its answer."""
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


def version_of(if_match: str | None) -> int | None:
    """The version that If-Match names; None when it names none.

    Raises:
        InvalidInputError: it is no version.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isdecimal():
        message = f"must be an organ's version as its ETag tells it, got {if_match!r}"
        raise InvalidInputError.for_field("If-Match", message)
    return int(text)
