"""One request of the command line to the gateway, with SEEDCORE_API_KEY."""

from collections.abc import Mapping
from typing import Any

from seedcore.errors import UnavailableError, from_problem
from seedcore.settings import Settings

TIMEOUT_S = 30.0


def call_gateway(
    settings: Settings,
    method: str,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    query: Mapping[str, object] | None = None,
) -> Any:
    """The JSON that the gateway answers with; None when there is none.

    Raises:
        SeedCoreError: it refused, or does not answer.
    """
    import httpx

    headers = {"Authorization": f"Bearer {settings.client_key}"} if settings.client_key else {}
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    try:
        with httpx.Client(base_url=settings.base_url, headers=headers, timeout=TIMEOUT_S) as http:
            response = http.request(method, path, json=body, params=given)
    except httpx.HTTPError as error:
        where = f"{settings.base_url} does not answer ({type(error).__name__})"
        raise UnavailableError(f"{where}. Is SeedCore running?") from None
    if response.status_code == 204:
        return None
    try:
        document = response.json()
    except ValueError:
        raise UnavailableError(f"{response.url} answered {response.status_code} without JSON.") from None
    if response.is_success:
        return document
    raise from_problem(document if isinstance(document, dict) else {})
