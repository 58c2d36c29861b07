"""Checks the API keys of requests against those of the settings."""

import hmac
import re
from collections.abc import Mapping

from starlette.types import Scope

from seedcore.errors import UnauthorizedError
from seedcore.settings import Settings
from seedcore.web.access.caller import ANONYMOUS, Caller

OPEN_PATHS = frozenset({"/health", "/readyz", "/api/v1/health"})
"""Paths, below the application's route prefix, that need no API key."""

_BEARER = re.compile(rb"^bearer +", re.IGNORECASE)


class ApiKeys:
    """The keys of the settings; without configured keys every request may pass."""

    def __init__(self, settings: Settings) -> None:
        own = [(key, Caller(f"setting-{at}", "setting")) for at, key in enumerate(settings.api_key_list, 1)]
        approvers = [(key, Caller(name, "approver")) for key, name in settings.approvers.items()]
        # Without API keys the approvers' are needed only for what approvers do.
        self._closed = bool(own)
        self._callers = tuple((key.encode(), caller) for key, caller in (*approvers, *own))

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Who sends a request whose path is open or whose key is known; `headers` by their names in small letters.

        Raises:
            UnauthorizedError: there are keys, and the request has none of them.
        """
        given = presented_key(headers)
        found = ANONYMOUS
        for key, caller in self._callers:
            if hmac.compare_digest(given, key) and found is ANONYMOUS:
                found = caller
        if found is ANONYMOUS and self._closed and not is_open(scope):
            raise UnauthorizedError("Send one of SEEDCORE_API_KEYS as `Authorization: Bearer KEY`.")
        return found


def is_open(scope: Scope) -> bool:
    """Whether the path of a request needs no key."""
    return scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS


def presented_key(headers: Mapping[bytes, bytes]) -> bytes:
    """The key that a request presents, by its headers in small letters; empty when there is none."""
    return headers.get(b"x-api-key") or _BEARER.sub(b"", headers.get(b"authorization", b""))
