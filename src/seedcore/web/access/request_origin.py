"""Whose tasks a request reads and submits: the caller's tenant, or the one that a platform caller names."""

import re
from typing import Annotated

from fastapi import Depends, Header

from seedcore.errors import ForbiddenError, InvalidInputError
from seedcore.tasks.model import DEFAULT_TENANT, TENANT_NAME
from seedcore.tasks.submission.tenancy import Origin, read_traceparent
from seedcore.web.access.caller import Caller, CallerDep

TENANT_HEADER = "X-SeedCore-Tenant"


def seen_tenant(caller: Caller, named: str | None) -> str | None:
    """The tenant whose things a request reads; `named` is a filter of its query. None: those of all.

    Raises:
        ForbiddenError: the caller's key belongs to another tenant.
    """
    if caller.tenant is not None and named not in (None, caller.tenant):
        raise ForbiddenError("Your key sees what belongs to its own tenant: leave `tenant` out.")
    return named if caller.tenant is None else caller.tenant


def tenant_of(caller: Caller, named: str | None) -> str:
    """The tenant that a request writes for; `named` is its header X-SeedCore-Tenant.

    Raises:
        ForbiddenError: the caller's key belongs to another tenant.
        InvalidInputError: it is not the name of a tenant.
    """
    if named is None:
        return caller.tenant or DEFAULT_TENANT
    if caller.tenant not in (None, named):
        raise ForbiddenError(f"Your key belongs to a tenant: leave {TENANT_HEADER} out.")
    if re.fullmatch(TENANT_NAME, named) is None:
        raise InvalidInputError.for_field(TENANT_HEADER, "a small letter, then up to 39 small letters, digits or -")
    return named


def origin_of(caller: Caller, tenant: str | None, traceparents: list[str]) -> Origin:
    """Where what a request submits comes from; a `traceparent` that is malformed, or given twice, is ignored."""
    traceparent = read_traceparent(traceparents[0]) if len(traceparents) == 1 else None
    operates = caller.tenant is None and not caller.scopes.isdisjoint(("operate", "admin"))
    return Origin(tenant_of(caller, tenant), traceparent, caller.by, operates)


_Tenants = Annotated[
    list[str] | None,
    Header(alias=TENANT_HEADER, description="whose, of a caller without a tenant; `default` when left out"),
]


def _one(tenants: list[str] | None) -> str | None:
    if tenants is not None and len(tenants) > 1:
        raise InvalidInputError.for_field(TENANT_HEADER, "is given more than once")
    return tenants[0] if tenants else None


async def _tenant(caller: CallerDep, tenants: _Tenants = None) -> str:
    return tenant_of(caller, _one(tenants))


async def _origin(
    caller: CallerDep,
    tenants: _Tenants = None,
    traceparent: Annotated[list[str] | None, Header(description="the caller's trace context (W3C)")] = None,
) -> Origin:
    return origin_of(caller, _one(tenants), traceparent or [])


TenantDep = Annotated[str, Depends(_tenant)]
"""The tenant whose schedules and limits a request names."""

OriginDep = Annotated[Origin, Depends(_origin)]
"""Where what a request submits comes from."""
