"""What both clients are made with."""

from collections.abc import Mapping
from typing import Any

import httpx

from seedcore import __version__
from seedcore.client.http_retry import Policy
from seedcore.errors import InvalidInputError


def policy_of(base_url: str, timeout_s: float, retry_for_s: float) -> Policy:
    """The policy for a SeedCore at `base_url`.

    Raises:
        InvalidInputError: the URL is none, or holds a password; a time is not positive.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise _wrong("base_url", "not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _wrong("base_url", "must look like http://127.0.0.1:8000")
    if url.userinfo or url.query or url.fragment:
        # It stands in messages and logs, so it must not hold a secret.
        raise _wrong("base_url", "must hold no user, password, query or fragment; a key goes into api_key")
    if not 0 < timeout_s <= 86_400 or not 0 <= retry_for_s <= 86_400:
        raise _wrong(
            "timeout_s", "timeout_s must lie in 0 to 86,400 s and be more than 0, retry_for_s in 0 to 86,400 s"
        )
    return Policy(base_url.rstrip("/"), timeout_s, retry_for_s)


def http_arguments(policy: Policy, api_key: str | None) -> Mapping[str, Any]:
    """What httpx's clients are made with.

    Raises:
        InvalidInputError: the key cannot stand in a header; the message does not show it.
    """
    headers = {"User-Agent": f"seedcore-client/{__version__}"}
    if api_key is not None:
        if not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip() or not api_key:
            raise _wrong("api_key", "must be printable ASCII text without spaces around it")
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": policy.base_url, "headers": headers, "timeout": policy.timeout_s}


def _wrong(field: str, message: str) -> InvalidInputError:
    return InvalidInputError.for_field(field, message)
