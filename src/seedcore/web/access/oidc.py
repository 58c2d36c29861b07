"""Callers by OpenID Connect: verifies bearer tokens against the issuer's published keys."""

import importlib
import re
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from seedcore.errors import SettingsError, UnauthorizedError
from seedcore.settings import Settings
from seedcore.tasks.model import TENANT_NAME
from seedcore.telemetry.logs import get_logger
from seedcore.web.access.caller import ALL_SCOPES, Caller
from seedcore.web.access.issuer_keys import IssuerKeys
from seedcore.web.access.key_secret import hash_of

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""What a key of each type may verify; a token's own word on it is not enough."""

PLATFORM = "*"
"""The tenant claim of a token that belongs to no tenant."""

LEEWAY_S = 30.0
KEEP_S = 60.0
MAX_KEPT = 1_000
MAX_NAME = 200

_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\Z")
_TENANT = re.compile(TENANT_NAME)


def looks_like_token(given: bytes) -> bool:
    """Whether a presented key has the form of a signed JSON web token."""
    return _TOKEN.match(given) is not None


class OidcVerifier:
    """Verifies tokens of SEEDCORE_OIDC_ISSUER for SEEDCORE_OIDC_AUDIENCE.

    Raises:
        SettingsError: the package that verifies signatures is missing.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._jwt = _pyjwt()
        self._keys = IssuerKeys(settings.oidc_issuer, self._jwt, clock)
        self._kept: dict[bytes, tuple[Caller, float]] = {}
        self._log = get_logger("seedcore.web.oidc")

    async def caller(self, token: bytes) -> Caller:
        """Who a token says that it is.

        Raises:
            UnauthorizedError: it is not valid here and now.
            UnavailableError: the issuer does not answer, and its keys are not known.
        """
        digest, now = hash_of(token), self._clock()
        kept = self._kept.get(digest)
        if kept is not None and now < kept[1]:
            return kept[0]
        claims = await self._verified(token)
        caller = self._caller(claims)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[digest] = caller, now + min(KEEP_S, float(claims["exp"]) - time.time())
        return caller

    async def aclose(self) -> None:
        """Close connections."""
        await self._keys.aclose()

    async def _verified(self, token: bytes) -> Mapping[str, Any]:
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise UnauthorizedError("This token cannot be read.") from None
        if header.get("alg") not in ALGORITHMS.values():
            raise UnauthorizedError("This token is not signed with RS256 or ES256.")
        kid = header.get("kid")
        key = await self._keys.get(kid if isinstance(kid, str) else None)
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[ALGORITHMS[key.key_type]],
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise UnauthorizedError("This token has expired.") from None
        except jwt.PyJWTError as error:
            # The library's texts name claims, not their values or the key.
            raise UnauthorizedError(f"This token is not valid: {type(error).__name__}.") from None
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        given = claims.get(self._settings.oidc_scopes_claim, ())
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
        scopes = frozenset(word for word in words if isinstance(word, str)) & ALL_SCOPES
        tenant = claims.get(self._settings.oidc_tenant_claim, "default")
        if tenant != PLATFORM and not (isinstance(tenant, str) and _TENANT.fullmatch(tenant)):
            raise UnauthorizedError(f"The claim {self._settings.oidc_tenant_claim!r} of this token names no tenant.")
        name = str(claims["sub"])[:MAX_NAME]
        if not name.isprintable() or not name:
            raise UnauthorizedError("The subject of this token cannot be shown.")
        payloads = claims.get(self._settings.oidc_payloads_claim, True) is True
        return Caller(name, "oidc", scopes, None if tenant == PLATFORM else tenant, payloads)


def _pyjwt() -> ModuleType:
    try:
        module = importlib.import_module("jwt")
        importlib.import_module("cryptography")
    except ImportError:
        raise SettingsError("SEEDCORE_OIDC_ISSUER needs the extra `oidc`: pip install 'seedcore[oidc]'.") from None
    return module
