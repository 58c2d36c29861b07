"""The routes of /api/v1/facts."""

from dataclasses import asdict, replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from seedcore.api.gateway import GatewayDep
from seedcore.errors import ForbiddenError
from seedcore.memory.facts.fact import Fact, FactDraft, FactFilter
from seedcore.schemas.api import parse_uuid
from seedcore.schemas.facts import FactIn, FactOut, FactPageOut, FactPatch, FactQuery
from seedcore.web.access.caller import Caller, CallerDep
from seedcore.web.access.request_origin import TenantDep, seen_tenant

router = APIRouter(prefix="/api/v1/facts", tags=["facts"])


@router.post("", status_code=201, response_model_exclude_unset=True)
async def create_fact(
    body: FactIn, response: Response, gateway: GatewayDep, caller: CallerDep, tenant: TenantDep
) -> FactOut:
    """Keep a fact. `contradicts` names those that say otherwise; both are kept."""
    made = await gateway.facts.add(_draft(body), tenant)
    response.headers["Location"] = f"/api/v1/facts/{made.id}"
    return fact_out(made, caller)


@router.get("", response_model_exclude_unset=True)
async def list_facts(query: Annotated[FactQuery, Query()], gateway: GatewayDep, caller: CallerDep) -> FactPageOut:
    """Facts, the newest first; `next_cursor` is null on the last page."""
    if not caller.payloads and (query.q or query.subject or query.predicate or query.tags):
        raise ForbiddenError("Your key may not see what facts say, nor search in it.")
    wanted = FactFilter(
        seen_tenant(caller, query.tenant),
        query.q,
        query.subject,
        query.predicate,
        tuple(query.tags),
        query.at,
        parse_uuid(query.cursor, "cursor"),
    )
    found = await gateway.facts.find(wanted, query.limit + 1)
    page = found[: query.limit]
    cursor = str(page[-1].id) if len(found) > query.limit else None
    return FactPageOut(items=[fact_out(fact, caller) for fact in page], next_cursor=cursor)


@router.get("/{fact_id}", response_model_exclude_unset=True)
async def get_fact(fact_id: UUID, gateway: GatewayDep, caller: CallerDep) -> FactOut:
    """One fact."""
    return fact_out(await gateway.facts.get(fact_id, caller.tenant), caller)


@router.put("/{fact_id}", response_model_exclude_unset=True)
async def put_fact(fact_id: UUID, body: FactIn, gateway: GatewayDep, caller: CallerDep) -> FactOut:
    """Say a fact again, whole. Without `valid_from` it holds since when it did."""

    def edit(stored: Fact) -> FactDraft:
        return _draft(body.model_copy(update={"valid_from": body.valid_from or stored.valid_from}))

    return fact_out(await gateway.facts.change(fact_id, caller.tenant, edit), caller)


@router.patch("/{fact_id}", response_model_exclude_unset=True)
async def patch_fact(fact_id: UUID, body: FactPatch, gateway: GatewayDep, caller: CallerDep) -> FactOut:
    """Change some of a fact; a text that was made of subject, predicate and object follows them."""
    changes = body.model_dump(exclude_unset=True)
    if "tags" in changes:
        changes["tags"] = tuple(changes["tags"])
    return fact_out(
        await gateway.facts.change(fact_id, caller.tenant, lambda fact: replace(fact.draft, **changes)), caller
    )


@router.delete("/{fact_id}", status_code=204)
async def delete_fact(fact_id: UUID, gateway: GatewayDep, caller: CallerDep) -> None:
    """Remove a fact; plans that relied on it name it no more. To say when it ended, set `valid_to` instead."""
    await gateway.facts.remove(fact_id, caller.tenant)


def fact_out(fact: Fact, caller: Caller) -> FactOut:
    """A fact as the caller may see it."""
    shown = FactOut.model_validate(asdict(fact))
    if caller.payloads:
        return shown
    hidden: dict[str, object] = {
        "subject": None,
        "predicate": None,
        "object": None,
        "text": None,
        "source": None,
        "tags": [],
    }
    return FactOut.model_validate(shown.model_dump() | hidden | {"payloads_hidden": True})


def _draft(body: FactIn) -> FactDraft:
    return FactDraft(
        body.subject,
        body.predicate,
        body.object,
        body.text,
        tuple(body.tags),
        body.source,
        body.valid_from,
        body.valid_to,
    )
