"""The routes of /api/v1/keys: stored keys are made, listed, rotated and revoked."""

from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic_core import to_jsonable_python

from seedcore.api.gateway import Gateway, GatewayDep
from seedcore.errors import ForbiddenError, InvalidInputError, MissingScopeError, NotFoundError, PlatformOnlyError
from seedcore.schemas.access import KEY_NAME, KeyIn, KeyOut, KeyPage, KeyQuery, NewKeyOut, RotateIn, Tenant
from seedcore.schemas.api import parse_uuid
from seedcore.web.access import key_repository
from seedcore.web.access.access_control import AccessControl, admission_of
from seedcore.web.access.caller import Caller, CallerDep, approver_name
from seedcore.web.access.key_repository import NewKey, StoredKey

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

KeyName = Annotated[str, Path(pattern=KEY_NAME)]
OfTenant = Annotated[Tenant | None, Query(description="whose key, where several tenants have one of that name")]


@router.post("", status_code=201)
async def create_key(
    body: KeyIn, gateway: GatewayDep, caller: CallerDep, request: Request, response: Response
) -> NewKeyOut:
    """Make a key; the answer holds its secret, which cannot be read again. 409 when the name is taken."""
    tenant = _own_tenant(caller, body.tenant)
    payloads = caller.payloads if body.payloads is None else body.payloads
    _check_held(caller, tuple(body.scopes), payloads, gateway)
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise InvalidInputError.for_field("expires_at", "must be in the future")
    scopes = tuple(dict.fromkeys(body.scopes))
    key = NewKey(body.name, tenant, scopes, payloads, body.expires_at, body.expires_in_s)
    _note(request, key.name, scopes=scopes, of_tenant=tenant, payloads=payloads)
    async with gateway.database.connection() as connection:
        made, secret = await key_repository.create_key(connection, key, caller.name)
    response.headers["Cache-Control"] = "no-store"
    return NewKeyOut(**_shown(made), key=secret)


@router.get("")
async def list_keys(query: Annotated[KeyQuery, Query()], gateway: GatewayDep, caller: CallerDep) -> KeyPage:
    """Keys without their secrets, the newest first; a tenant's admin sees those of its tenant."""
    tenant = _own_tenant(caller, query.tenant)
    before = parse_uuid(query.cursor, "cursor")
    async with gateway.database.connection() as connection:
        found = await key_repository.list_keys(connection, tenant, before, query.limit + 1)
    page = found[: query.limit]
    items = [KeyOut(**_shown(key)) for key in page]
    return KeyPage(items=items, next_cursor=items[-1].id if len(found) > query.limit else None)


@router.post("/{name}/rotate", status_code=201)
async def rotate_key(
    name: KeyName,
    gateway: GatewayDep,
    caller: CallerDep,
    request: Request,
    response: Response,
    body: RotateIn | None = None,
    tenant: OfTenant = None,
) -> NewKeyOut:
    """Give a key a new secret; the old one goes on for `grace_s`, so that no client is locked out meanwhile."""
    given = body or RotateIn()
    _note(request, name, grace_s=given.grace_s)
    whose = _own_tenant(caller, tenant, hidden=name)
    async with gateway.database.connection() as connection:
        before = await key_repository.get_active_key(connection, name, whose)
        _check_held(caller, before.scopes, before.payloads, gateway)
        made, secret = await key_repository.rotate_key(
            connection, name, whose, given.grace_s, given.expires_in_s, caller.name
        )
    _note(request, name, grace_s=given.grace_s, of_tenant=made.tenant)
    _access(request).keys.forget()
    response.headers["Cache-Control"] = "no-store"
    return NewKeyOut(**_shown(made), key=secret)


@router.delete("/{name}", status_code=204)
async def revoke_key(
    name: KeyName, gateway: GatewayDep, caller: CallerDep, request: Request, tenant: OfTenant = None
) -> None:
    """Revoke every secret of a key: this process refuses it from now on, the others within a second."""
    _note(request, name)
    whose = _own_tenant(caller, tenant, hidden=name)
    async with gateway.database.connection() as connection:
        revoked = await key_repository.revoke_key(connection, name, whose)
    _note(request, name, of_tenant=revoked.tenant)
    _access(request).keys.forget()


def _own_tenant(caller: Caller, asked: str | None, hidden: str | None = None) -> str | None:
    """Whose keys this is about; a tenant's caller has to do with its own alone.

    `hidden`: the key that is asked for, which of another tenant does not exist for this caller.
    """
    if caller.tenant is None or asked in (None, caller.tenant):
        return caller.tenant or asked
    if hidden is not None:
        raise NotFoundError(f"There is no active key {hidden!r}.")
    raise PlatformOnlyError("Your key belongs to another tenant.")


def _check_held(caller: Caller, scopes: tuple[str, ...], payloads: bool, gateway: Gateway) -> None:
    """A caller grants only what it holds, and the right to approve only where it may approve itself."""
    if {"approve", "admin"}.intersection(scopes):
        approver_name(caller, bool(gateway.approvers))
    for scope in scopes:
        if scope not in caller.scopes and "admin" not in caller.scopes:
            raise MissingScopeError(f"You do not hold the scope {scope!r} yourself.", scope=scope)
    if payloads and not caller.payloads:
        raise ForbiddenError("Your key may not see payloads: no key that it makes may either.")


def _note(request: Request, name: str, **detail: object) -> None:
    admission = admission_of(request.scope)
    admission.target = name
    admission.detail.update(detail)


def _access(request: Request) -> AccessControl:
    return cast(AccessControl, request.app.state.access)


def _shown(key: StoredKey) -> dict[str, object]:
    shown: dict[str, object] = to_jsonable_python(key)
    return shown
