"""What the guard asks about each request: who sends it, whether they may do that, and what is recorded of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import FastAPI
from starlette.types import Scope

from seedcore.errors import MissingScopeError, PlatformOnlyError, SeedCoreError, UnauthorizedError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics import counter
from seedcore.web.access.audit_log import AuditLog
from seedcore.web.access.audit_repository import AuditEntry
from seedcore.web.access.caller import ANONYMOUS, UNKNOWN_KEY, Caller, put_caller
from seedcore.web.access.key_cache import KeyCache, KnownKeyRefusedError
from seedcore.web.access.key_secret import hash_of, looks_stored
from seedcore.web.access.oidc import OidcVerifier, looks_like_token
from seedcore.web.access.route_rules import OPEN_PATHS, RouteRules, route_path, rule_of
from seedcore.web.access.scopes import RouteRule
from seedcore.web.authentication import ApiKeys, presented_key

REFUSED = (401, 403)
GIVEN_UP = 499
"""The status of a request whose client left before it had an answer: what it changed stands."""


@dataclass(slots=True)
class Admission:
    """One request on its way: what the audit log will say of it. Routes may name the target and add detail."""

    rule: RouteRule
    action: str
    target: str | None
    source: str | None
    caller: Caller = ANONYMOUS
    reason: str = "forbidden"
    detail: dict[str, object] = field(default_factory=dict)


def admission_of(scope: Scope) -> Admission:
    """The admission of a request, for its route."""
    return cast(Admission, scope["state"]["admission"])


class AccessControl:
    """Keys, scopes and the audit log of one application.

    Args:
        service: the application's name, for its routes' rules.
        settings: the settings' keys, and OIDC.
        database: the service's own pool; None: a pool of one, opened when it is needed.
    """

    def __init__(self, service: str, settings: Settings, database: Callable[[], Database | None] | None = None) -> None:
        self._service, self._settings, self._given = service, settings, database
        self._own: Database | None = None
        self._rules: RouteRules | None = None
        self._setting_keys = ApiKeys(settings)
        self._oidc = OidcVerifier(settings) if settings.oidc_issuer else None
        self.keys = KeyCache(self._pool)
        self.audit = AuditLog(self._pool)

    def begin(self, scope: Scope) -> Admission:
        """What is known of a request before its key is checked."""
        if self._rules is None:
            # Not in the constructor: routes are added after it.
            self._rules = RouteRules(self._service, cast(FastAPI, scope["app"]))
        route, action, target = self._rules.find(scope)
        client = scope.get("client")
        admission = Admission(rule_of(route), action, target, client[0] if client else None)
        put_caller(scope, ANONYMOUS)
        scope["state"]["admission"] = admission
        return admission

    async def admit(self, admission: Admission, scope: Scope) -> None:
        """Let a request pass.

        Raises:
            UnauthorizedError: it needs a key and has none, or has one that is wrong.
            ForbiddenError: its key may not do this.
            UnavailableError: the key cannot be checked now.
        """
        if route_path(scope) in OPEN_PATHS:
            return
        try:
            caller = admission.caller = await self._caller(scope, admission.rule)
            put_caller(scope, caller)
            check_rights(caller, admission.rule)
        except SeedCoreError as error:
            if isinstance(error, KnownKeyRefusedError):
                admission.caller = error.caller
            admission.reason = error.code
            raise

    async def check_again(self, admission: Admission, scope: Scope) -> None:
        """Check that a request which is answered for long still has the rights that it was let in with.

        Raises:
            UnauthorizedError: its key has expired, was revoked, or has other rights by now.
            UnavailableError: the key cannot be checked now.
        """
        if route_path(scope) not in OPEN_PATHS and await self._caller(scope, admission.rule) != admission.caller:
            raise UnauthorizedError("This key has other rights by now.")

    def give_up(self, admission: Admission) -> None:
        """Record a request that ends without an answer, because its client has left."""
        if admission.rule.audited:
            self.audit.record_soon(_entry(admission, GIVEN_UP, admission.detail))

    async def settle(self, admission: Admission, status: int) -> None:
        """Record a request whose answer, with this status, is about to leave."""
        if status in REFUSED:
            counter("seedcore_auth_refusals_total").add(1, reason=admission.reason)
            self.audit.note_refusal(_entry(admission, status, {"reason": admission.reason}))
        elif admission.rule.audited:
            await self.audit.record(_entry(admission, status, admission.detail))

    async def aclose(self) -> None:
        """Write what is left, and close what was opened here."""
        await self.keys.aclose()
        await self.audit.aclose()
        if self._oidc is not None:
            await self._oidc.aclose()
        if self._own is not None:
            await self._own.aclose()

    async def _caller(self, scope: Scope, rule: RouteRule) -> Caller:
        given = presented_key(scope["headers"])
        if not given:
            return self._setting_keys.without_key()
        if (known := self._setting_keys.find(given)) is not None:
            return known
        if looks_stored(given):
            return await self.keys.find(hash_of(given))
        if self._oidc is not None and looks_like_token(given):
            return await self._oidc.caller(given)
        if rule.placeholder_keys and not self._setting_keys.closed:
            return self._setting_keys.without_key()
        raise UnauthorizedError(UNKNOWN_KEY)

    def _pool(self) -> Database:
        database = self._given() if self._given is not None else None
        if database is None:
            database = self._own = self._own or Database(self._settings, size=1, name=f"seedcore-{self._service}-keys")
        return database


def check_rights(caller: Caller, rule: RouteRule) -> None:
    """Check that a caller may use a route.

    Raises:
        MissingScopeError: the caller does not hold the scope.
        PlatformOnlyError: the caller belongs to a tenant, and the route concerns all.
    """
    if rule.scope not in caller.scopes and "admin" not in caller.scopes:
        raise MissingScopeError(f"This needs a key with the scope {rule.scope!r}.", scope=rule.scope)
    if rule.platform and caller.tenant is not None:
        raise PlatformOnlyError("This concerns all tenants: it needs a key that belongs to none.")


def _entry(admission: Admission, status: int, detail: dict[str, object]) -> AuditEntry:
    caller = admission.caller
    return AuditEntry(
        caller.name, caller.kind, caller.tenant, admission.action, admission.target, status, admission.source, detail
    )
