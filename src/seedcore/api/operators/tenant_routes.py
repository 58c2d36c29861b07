"""The routes of /api/v1/tenants: their weights, and what they have ready."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query

from seedcore.api.gateway import GatewayDep
from seedcore.schemas.access import TenantOut, TenantPage, WeightIn
from seedcore.tasks import tenants
from seedcore.tasks.model import TENANT_NAME

router = APIRouter(prefix="/api/v1/tenants", tags=["tenants"])


@router.get("")
async def list_tenants(
    gateway: GatewayDep,
    cursor: Annotated[str | None, Query(pattern=TENANT_NAME)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> TenantPage:
    """Tenants by name: those with ready tasks, and those with a weight of their own."""
    async with gateway.database.connection() as connection:
        found = await tenants.find(connection, cursor, limit + 1)
    items = [TenantOut(**asdict(tenant)) for tenant in found[:limit]]
    return TenantPage(items=items, next_cursor=items[-1].name if len(found) > limit else None)


@router.put("/{name}")
async def put_tenant(
    name: Annotated[str, Path(pattern=TENANT_NAME)], body: WeightIn, gateway: GatewayDep
) -> dict[str, object]:
    """Set a tenant's weight: its share within a priority, beside the weights of others who have ready tasks."""
    async with gateway.database.connection() as connection:
        await tenants.put(connection, name, body.weight)
    return {"name": name, "weight": body.weight}
