"""Checks the API keys of requests, and who among their senders is an approver."""

import hmac
import re
from collections.abc import Mapping

from fastapi import Request
from starlette.types import Scope

from seedcore.errors import ForbiddenError, UnauthorizedError
from seedcore.settings import Settings

OPEN_PATHS = frozenset({"/health", "/readyz", "/api/v1/health"})
"""Paths, below the application's route prefix, that need no API key."""

_BEARER = re.compile(rb"^bearer +", re.IGNORECASE)


class ApiKeys:
    """The keys that open an application; without configured keys every request may pass."""

    def __init__(self, settings: Settings) -> None:
        # Without API keys the approvers' are needed only for what approvers do.
        own = settings.api_key_list
        self._keys = tuple(key.encode() for key in (*own, *settings.approvers)) if own else ()

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Let a request pass whose path is open or whose key is known; `headers` by their names in small letters.

        Raises:
            UnauthorizedError: there are keys, and the request has none of them.
        """
        if not self._keys or scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS:
            return
        given = presented_key(headers)
        if not any(hmac.compare_digest(given, key) for key in self._keys):
            raise UnauthorizedError("Send one of SEEDCORE_API_KEYS as `Authorization: Bearer KEY`.")


def presented_key(headers: Mapping[bytes, bytes]) -> bytes:
    """The key that a request presents, by its headers in small letters; empty when there is none."""
    return headers.get(b"x-api-key") or _BEARER.sub(b"", headers.get(b"authorization", b""))


def approver_of(request: Request, approvers: Mapping[str, str]) -> str | None:
    """Who of `approvers` (names by key) sends this request; None where no approvers are configured.

    Raises:
        ForbiddenError: there are approvers, and its key is none of theirs.
    """
    if not approvers:
        return None
    given = presented_key({name.lower(): value for name, value in request.headers.raw})
    for key, name in approvers.items():
        if hmac.compare_digest(given, key.encode()):
            return name
    raise ForbiddenError("Only approvers do this: send a key of SEEDCORE_APPROVER_KEYS.")
