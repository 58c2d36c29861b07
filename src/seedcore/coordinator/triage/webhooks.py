"""Telling webhooks: only those that the settings name, so that no request chooses where this process connects to."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from seedcore.errors import InvalidInputError, NotConfiguredError, UnavailableError

TIMEOUT_S = 4.0
PAUSES_S = (0.5, 1.0)
"""Before the second and the third try; there is no fourth."""

_AGAIN = {408, 425, 429}


class Webhooks:
    """Posts JSON to a webhook by its name; redirects are not followed, proxies of the environment not used."""

    def __init__(
        self, urls: Mapping[str, str], pauses_s: tuple[float, ...] = PAUSES_S, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._urls, self._pauses_s, self._timeout_s = dict(urls), pauses_s, timeout_s

    def named(self, name: str | None) -> str | None:
        """The webhook of that name, or the only one; None: there is none, or a choice."""
        if name is not None:
            return name if name in self._urls else None
        return next(iter(self._urls)) if len(self._urls) == 1 else None

    async def post(self, name: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post until it answers with success, at most three times.

        Raises:
            NotConfiguredError, InvalidInputError: no webhook is configured, or none of that name.
            UnavailableError: it did not take it.
        """
        chosen = self.named(name)
        if chosen is None:
            if not self._urls:
                raise NotConfiguredError("No webhook is configured (SEEDCORE_WEBHOOKS).")
            raise InvalidInputError(f"webhook: name one of {', '.join(sorted(self._urls))} (SEEDCORE_WEBHOOKS).")
        tries, why = 0, ""
        # Environment proxies and redirects would lead elsewhere than the setting says.
        async with httpx.AsyncClient(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client:
            for pause in (*self._pauses_s, None):
                tries += 1
                try:
                    answer = await client.post(self._urls[chosen], json=dict(body))
                except httpx.HTTPError as error:
                    # Its text may hold the address, which may hold a secret.
                    why, again = type(error).__name__, True
                else:
                    if answer.is_success:
                        return {"webhook": chosen, "status": answer.status_code, "tries": tries}
                    why = f"status {answer.status_code}"
                    again = answer.status_code >= 500 or answer.status_code in _AGAIN
                if not again or pause is None:
                    break
                await asyncio.sleep(pause)
        raise UnavailableError(f"The webhook {chosen!r} did not take it in {tries} tries: {why}.", tries=tries)
