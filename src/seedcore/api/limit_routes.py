"""The routes of /api/v1/limits: how many tasks of a key run at once, and how fast they start."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query

from seedcore.api.gateway import GatewayDep
from seedcore.schemas.api import LimitBody
from seedcore.tasks import limits
from seedcore.tasks.submission.task_options import LIMIT_KEY
from seedcore.tasks.submission.tenancy import scoped, unscoped
from seedcore.web.access.request_origin import TenantDep

router = APIRouter(prefix="/api/v1/limits", tags=["limits"])

Key = Annotated[str, Path(), LIMIT_KEY.field]


@router.get("")
async def list_limits(
    gateway: GatewayDep,
    tenant: TenantDep,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, object]:
    """A tenant's limits by key, and how many of their tasks run and wait."""
    after = None if cursor is None else scoped(tenant, cursor)
    async with gateway.database.connection() as connection:
        found = await limits.find(connection, after, limit + 1, tenant)
    page = [_shown(item) for item in found[:limit]]
    return {"items": page, "next_cursor": page[-1]["key"] if len(found) > limit else None}


@router.get("/{key:path}")
async def get_limit(key: Key, gateway: GatewayDep, tenant: TenantDep) -> dict[str, object]:
    """One key's limit."""
    async with gateway.database.connection() as connection:
        return _shown(await limits.get(connection, scoped(tenant, key)))


@router.put("/{key:path}")
async def put_limit(key: Key, body: LimitBody, gateway: GatewayDep, tenant: TenantDep) -> dict[str, object]:
    """Define a key's limit, whole; tasks that it no longer holds back are released."""
    stored = scoped(tenant, key)
    async with gateway.database.connection() as connection:
        return _shown(await limits.put(connection, stored, body.max_running, body.rate_per_s, body.burst))


@router.delete("/{key:path}", status_code=204)
async def delete_limit(key: Key, gateway: GatewayDep, tenant: TenantDep) -> None:
    """Delete a limit that no task waits for; 409 while some do."""
    async with gateway.database.connection() as connection:
        await limits.remove(connection, scoped(tenant, key))


def _shown(state: limits.LimitState) -> dict[str, object]:
    return {**asdict(state), "key": unscoped(state.key)}
