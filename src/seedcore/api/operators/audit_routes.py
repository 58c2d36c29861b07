"""The route of /api/v1/audit: who did what, from where."""

from typing import Annotated

from fastapi import APIRouter, Query

from seedcore.api.gateway import GatewayDep
from seedcore.errors import PlatformOnlyError
from seedcore.schemas.access import AuditPage, AuditQuery, AuditRow
from seedcore.schemas.api import parse_uuid
from seedcore.web.access.audit_repository import AuditFilter, find_entries
from seedcore.web.access.caller import CallerDep

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


@router.get("")
async def list_audit(query: Annotated[AuditQuery, Query()], gateway: GatewayDep, caller: CallerDep) -> AuditPage:
    """Changes and refusals, the newest first; a tenant's admin sees what keys of its tenant did."""
    if caller.tenant is not None and query.tenant not in (None, caller.tenant):
        raise PlatformOnlyError("Your key belongs to another tenant.")
    wanted = AuditFilter(
        actor=query.actor,
        action=query.action,
        tenant=caller.tenant or query.tenant,
        since=query.since,
        until=query.until,
        before=parse_uuid(query.cursor, "cursor"),
        limit=query.limit + 1,
    )
    async with gateway.database.connection() as connection:
        found = await find_entries(connection, wanted)
    items = [AuditRow(**row) for row in found[: query.limit]]
    return AuditPage(items=items, next_cursor=items[-1].id if len(found) > query.limit else None)
