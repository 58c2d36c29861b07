"""Who sends a request: the caller that the guard found, as a dependency of routes."""

from dataclasses import dataclass
from typing import Annotated, Literal, cast

from fastapi import Depends, Request
from starlette.types import Scope

from seedcore.errors import ForbiddenError

SCOPES = ("read", "submit", "approve", "operate", "admin")
"""The rights that a key may hold; `admin` holds all."""

ALL_SCOPES = frozenset(SCOPES)

UNKNOWN_KEY = "This key is not known: send a stored one, or one of SEEDCORE_API_KEYS."

CallerKind = Literal["anonymous", "setting", "approver", "key", "oidc"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        name: of the key or of the person; it goes into tasks and into the audit log.
        scopes: what it may do; `admin` brings all of them.
        tenant: whose tasks it sees and submits; None: a platform caller, who sees all tenants.
        payloads: whether it may see params, results and what else tasks carry.
    """

    name: str
    kind: CallerKind
    scopes: frozenset[str] = ALL_SCOPES
    tenant: str | None = None
    payloads: bool = True

    @property
    def by(self) -> str | None:
        """The name to store with what it submits; None: no key was presented."""
        return None if self.kind == "anonymous" else self.name


ANONYMOUS = Caller("anonymous", "anonymous")
"""Requests without a key, where they are let in: a platform caller with every right."""


def caller_of(scope: Scope) -> Caller:
    """The caller that the guard put into the scope of a request."""
    return cast(Caller, scope["state"]["caller"])


def put_caller(scope: Scope, caller: Caller) -> None:
    """Give the request its caller."""
    scope["state"] = {**scope.get("state", {}), "caller": caller}


async def _caller(request: Request) -> Caller:
    # async: FastAPI hands a plain function to a thread, at every request.
    return caller_of(request.scope)


CallerDep = Annotated[Caller, Depends(_caller)]
"""Who sends the request, as a dependency of routes."""


def approver_name(caller: Caller, approvers_configured: bool) -> str | None:
    """Under which name `caller` releases or refuses tasks; None: anonymously, where no approver is configured.

    Raises:
        ForbiddenError: there are approvers, and it is none of them, nor has it a key with the scope `approve`.
    """
    if caller.kind in ("approver", "key", "oidc"):
        return caller.name
    if approvers_configured:
        raise ForbiddenError("Only approvers do this: send a key of SEEDCORE_APPROVER_KEYS.")
    return None
