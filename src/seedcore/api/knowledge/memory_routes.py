"""The routes of /api/v1/memory: remember texts, and find them again."""

from dataclasses import asdict

from fastapi import APIRouter

from seedcore.api.gateway import GatewayDep
from seedcore.errors import ForbiddenError
from seedcore.memory.long_term.items import NewMemory
from seedcore.schemas.memory import MemoryFoundOut, MemoryIdsOut, MemoryIn, MemoryOut, MemoryQuery
from seedcore.web.access.caller import CallerDep
from seedcore.web.access.request_origin import TenantDep

router = APIRouter(prefix="/api/v1/memory", tags=["memory"])


@router.post("", status_code=201)
async def remember(body: MemoryIn, gateway: GatewayDep, tenant: TenantDep) -> MemoryIdsOut:
    """Remember texts: all or none. The next search finds them."""
    items = [
        NewMemory(item.text, tenant, item.scope, item.tags, item.metadata, item.salience, "api") for item in body.items
    ]
    kept = await gateway.memory.keep(items)
    return MemoryIdsOut(ids=kept.ids, fallback=kept.fallback)


@router.post("/search")
async def search(body: MemoryQuery, gateway: GatewayDep, caller: CallerDep, tenant: TenantDep) -> MemoryFoundOut:
    """The memories of a tenant that fit best, by meaning and by words."""
    if not caller.payloads:
        raise ForbiddenError("Your key may not see what tasks carry, nor what is remembered of it.")
    scopes = [body.scope] if isinstance(body.scope, str) else body.scope
    found = await gateway.memory.find(body.query, body.k, tenant=tenant, scopes=scopes, tags=body.tags)
    items = [MemoryOut.model_validate(asdict(memory)) for memory in found.items]
    return MemoryFoundOut(items=items, fallback=found.fallback)
