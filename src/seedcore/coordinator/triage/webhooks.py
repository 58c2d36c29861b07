"""Posts to webhooks: only those that the settings name, so that no request chooses where this process connects to."""

import asyncio
from collections.abc import Mapping

import httpx

from seedcore.errors import InvalidInputError, NotConfiguredError, UnavailableError
from seedcore.tasks.retry import backoff_s, jittered_s

TIMEOUT_S = 4.0
MAX_TRIES = 3
PAUSE_S, MAX_PAUSE_S = 0.5, 1.0
"""Bounds of the pause after the first try, and of any later one."""

_RETRYABLE = {408, 425, 429}


class Webhooks:
    """Posts JSON to a webhook by its name, without redirects or proxies of the environment."""

    def __init__(self, urls: Mapping[str, str], pause_s: float = PAUSE_S, timeout_s: float = TIMEOUT_S) -> None:
        self._urls, self._pause_s, self._timeout_s = dict(urls), pause_s, timeout_s

    def named(self, name: str | None) -> str | None:
        """The webhook of that name, or the only one; None: there is none, or several and no name."""
        if name is not None:
            return name if name in self._urls else None
        return next(iter(self._urls)) if len(self._urls) == 1 else None

    async def post(self, name: str | None, body: Mapping[str, object]) -> dict[str, object]:
        """Post until the webhook answers with success, at most three times.

        Raises:
            NotConfiguredError, InvalidInputError: no webhook is configured, or none of that name.
            UnavailableError: the webhook did not accept it.
        """
        chosen = self.named(name)
        if chosen is None:
            if not self._urls:
                raise NotConfiguredError("No webhook is configured (SEEDCORE_WEBHOOKS).")
            known = ", ".join(sorted(self._urls))
            raise InvalidInputError.for_field("webhook", f"name one of {known} (SEEDCORE_WEBHOOKS).")
        tries, reason = 0, ""
        # Proxies of the environment and redirects would lead elsewhere than the setting says.
        async with httpx.AsyncClient(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client:
            while True:
                tries += 1
                try:
                    answer = await client.post(self._urls[chosen], json=dict(body))
                except httpx.HTTPError as error:
                    # The error's text may contain the address, which may contain a secret.
                    reason, retryable = type(error).__name__, True
                else:
                    if answer.is_success:
                        return {"webhook": chosen, "status": answer.status_code, "tries": tries}
                    reason = f"status {answer.status_code}"
                    retryable = answer.status_code >= 500 or answer.status_code in _RETRYABLE
                if not retryable or tries == MAX_TRIES:
                    break
                await asyncio.sleep(jittered_s(backoff_s(tries, self._pause_s, MAX_PAUSE_S)))
        raise UnavailableError(f"The webhook {chosen!r} did not accept it in {tries} tries: {reason}.", tries=tries)
