"""The public keys of an OpenID Connect issuer: discovered, cached, and read again when a new one shows up."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from seedcore.errors import UnauthorizedError, UnavailableError
from seedcore.telemetry.lean_imports import without
from seedcore.telemetry.logs import get_logger
from seedcore.utils.exposure import is_loopback

# Its command line, which it loads where it can: a tenth of a second in every process.
with without("click", "pygments", "rich"):
    import httpx

DISCOVERY = "/.well-known/openid-configuration"
KEEP_S = 3600.0
"""A key that the issuer withdraws is trusted no longer than that."""
AGAIN_S = 60.0
"""For an unknown key id the issuer is asked at most that often."""
TIMEOUT_S = 5.0
MAX_BYTES = 1024 * 1024
MAX_KEYS = 100


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key: `key_type` is RSA or EC (P-256)."""

    key: Any
    key_type: str


class IssuerKeys:
    """Finds an issuer's keys by their ids."""

    def __init__(self, issuer: str, jwt: ModuleType, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._jwt, self._clock = issuer, jwt, clock
        self._http: httpx.AsyncClient | None = None
        self._keys: dict[str | None, IssuerKey] = {}
        self._read_at = self._asked_at = float("-inf")
        self._lock = asyncio.Lock()
        self._log = get_logger("seedcore.web.oidc")

    async def get(self, kid: str | None) -> IssuerKey:
        """The key that a token names; without a name the only one there is.

        Raises:
            UnauthorizedError: the issuer has no such key.
            UnavailableError: the issuer does not answer, and its keys are not known.
        """
        now = self._clock()
        if kid not in self._keys or now - self._read_at > KEEP_S:
            async with self._lock:
                await self._refresh(kid)
        if self._clock() - self._read_at > KEEP_S:
            raise UnavailableError("The issuer of tokens does not answer.", retry_after_s=5)
        found = self._keys.get(kid)
        if found is None:
            raise UnauthorizedError("This token is signed with a key that its issuer does not publish.")
        return found

    async def aclose(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _refresh(self, kid: str | None) -> None:
        now = self._clock()
        fresh = now - self._read_at <= KEEP_S
        # Another request may have read them while this one waited.
        if (kid in self._keys and fresh) or now - self._asked_at < AGAIN_S:
            return
        self._asked_at = now
        try:
            keys = await self._read()
        except (httpx.HTTPError, ValueError) as error:
            self._log.warning("keys of the issuer not read", reason=f"{type(error).__name__}: {error}")
            # Without any keys no token is valid: ask again soon.
            if not fresh:
                self._asked_at = now - AGAIN_S + 1.0
            return
        self._keys, self._read_at = keys, now

    async def _read(self) -> dict[str | None, IssuerKey]:
        document = await self._json(self._issuer.rstrip("/") + DISCOVERY)
        if document.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        found = (await self._json(str(document.get("jwks_uri")))).get("keys")
        keys: dict[str | None, IssuerKey] = {}
        for item in found[:MAX_KEYS] if isinstance(found, list) else ():
            if (key := self._usable(item)) is not None:
                keys[item.get("kid")] = key
        if len(keys) == 1:
            keys.setdefault(None, next(iter(keys.values())))
        return keys

    def _usable(self, item: object) -> IssuerKey | None:
        """A key that may verify signatures; no symmetric one, whatever the issuer says."""
        if not isinstance(item, dict) or item.get("use", "sig") != "sig" or not isinstance(item.get("kid", ""), str):
            return None
        kind = item.get("kty")
        if not (kind == "RSA" or (kind == "EC" and item.get("crv") == "P-256")):
            return None
        try:
            return IssuerKey(self._jwt.PyJWK.from_dict(item, "RS256" if kind == "RSA" else "ES256").key, str(kind))
        except self._jwt.PyJWTError:
            return None

    async def _json(self, url: str) -> Mapping[str, Any]:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ValueError("only https is asked, or http on this machine")
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)
        response = await self._http.get(url)
        response.raise_for_status()
        if len(response.content) > MAX_BYTES:
            raise ValueError("the answer is too large")
        document = response.json()
        if not isinstance(document, dict):
            raise ValueError("the answer is no JSON object")
        return document
