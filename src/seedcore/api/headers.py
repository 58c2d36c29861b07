"""Request headers of /api/v1, decoded and validated."""

from typing import Annotated

from fastapi import Depends, Header
from pydantic import AfterValidator

from seedcore.api.request_origin import TENANT_HEADER, origin_of, tenant_of
from seedcore.errors import InvalidInputError
from seedcore.tasks.submission.task_options import KEY
from seedcore.tasks.submission.tenancy import Origin
from seedcore.web.access.caller import CallerDep


def decoded_key(value: str | None) -> str | None:
    """The text that the client meant: the framework reads headers as latin-1, clients write UTF-8.

    Raises:
        ValueError: it cannot be a key.
    """
    if value is None:
        return None
    try:
        text = value.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8") from None
    if not KEY.min <= len(text) <= KEY.max or "\0" in text:
        raise ValueError(f"must be {KEY.min} to {KEY.max} characters, none of them U+0000")
    return text


IdempotencyKey = Annotated[str | None, AfterValidator(decoded_key), Header()]

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
