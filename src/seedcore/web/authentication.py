"""The key that a request presents, and the keys of the settings."""

import hmac
import re
from collections.abc import Iterable

from seedcore.errors import UnauthorizedError
from seedcore.settings import Settings
from seedcore.web.access.caller import ANONYMOUS, UNKNOWN_KEY, Caller

MAX_KEY_BYTES = 8192

_BEARER = re.compile(rb"^bearer(?: +|$)", re.IGNORECASE)


class ApiKeys:
    """The keys of the settings; without configured keys every request may pass that presents none.

    Attributes:
        closed: there are keys, so that requests without one are refused.
    """

    def __init__(self, settings: Settings) -> None:
        own = [(key, Caller(f"setting-{at}", "setting")) for at, key in enumerate(settings.api_key_list, 1)]
        approvers = [(key, Caller(name, "approver")) for key, name in settings.approvers.items()]
        # Without API keys the approvers' are needed only for what approvers do.
        self.closed = bool(own)
        self._callers = tuple((key.encode(), caller) for key, caller in (*approvers, *own))

    def find(self, given: bytes) -> Caller | None:
        """Whose key it is; None: it is not in the settings."""
        found = None
        for key, caller in self._callers:
            if hmac.compare_digest(given, key) and found is None:
                found = caller
        return found

    def without_key(self) -> Caller:
        """The caller of a request that presents no key.

        Raises:
            UnauthorizedError: there are keys.
        """
        if self.closed:
            raise UnauthorizedError("Send a key as `Authorization: Bearer KEY`: a stored one, or of SEEDCORE_API_KEYS.")
        return ANONYMOUS


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key that a request presents, in X-API-Key or as a bearer token; empty when there is none.

    Raises:
        UnauthorizedError: it presents several, or one that no key is as long as.
    """
    found = b""
    for name, value in headers:
        lower = name.lower()
        if lower == b"x-api-key":
            given = value.strip()
        elif lower == b"authorization":
            given = _BEARER.sub(b"", value.strip(), count=1)
            if b" " in given:
                # Another scheme, which is for somebody else: no key of ours holds a space.
                continue
        else:
            continue
        if given and found and not hmac.compare_digest(given, found):
            raise UnauthorizedError("The request presents two keys that differ: send one.")
        found = found or given
    if len(found) > MAX_KEY_BYTES:
        raise UnauthorizedError(UNKNOWN_KEY)
    return found
