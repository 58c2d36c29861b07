"""Validates the options that both clients are created with."""

from typing import TypedDict

import httpx

from seedcore import __version__
from seedcore.client.http_retry import HttpPolicy
from seedcore.errors import InvalidInputError


class HttpClientArguments(TypedDict):
    """Arguments of httpx's clients."""

    base_url: str
    headers: dict[str, str]
    timeout: float


def http_policy(base_url: str, timeout_s: float, retry_for_s: float) -> HttpPolicy:
    """The policy for a SeedCore at `base_url`.

    Raises:
        InvalidInputError: it is not a URL or holds a password, or a time is not positive.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise InvalidInputError.for_field("base_url", "not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInputError.for_field("base_url", "must look like http://127.0.0.1:8000")
    if url.userinfo or url.query or url.fragment:
        # The URL appears in messages and logs, so it must not hold a secret.
        raise InvalidInputError.for_field(
            "base_url", "must hold no user, password, query or fragment; pass a key as api_key"
        )
    if not 0 < timeout_s <= 86_400 or not 0 <= retry_for_s <= 86_400:
        raise InvalidInputError.for_field(
            "timeout_s", "timeout_s must lie in 0 to 86,400 s and be more than 0, retry_for_s in 0 to 86,400 s"
        )
    return HttpPolicy(base_url.rstrip("/"), timeout_s, retry_for_s)


def http_arguments(policy: HttpPolicy, api_key: str | None) -> HttpClientArguments:
    """The arguments for httpx's clients.

    Raises:
        InvalidInputError: the key cannot be sent in a header; the message does not show it.
    """
    headers = {"User-Agent": f"seedcore-client/{__version__}"}
    if api_key is not None:
        if not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip() or not api_key:
            raise InvalidInputError.for_field("api_key", "must be printable ASCII text without spaces around it")
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": policy.base_url, "headers": headers, "timeout": policy.timeout_s}
