"""A small HTTP client that survives restarts: it retries until a deadline, with backoff."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import httpx

from seedcore.settings import Settings
from seedcore.tasks.retry import backoff_s, jittered_s

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
PROBLEM_JSON = "application/problem+json"


class JobError(Exception):
    """The job cannot continue; the message is for the person who started it."""


class Api:
    """Requests that are safe to repeat.

    Args:
        notice: called with the reason before each retry, and with None after a success.
    """

    def __init__(
        self,
        base_url: str,
        settings: Settings,
        deadline: float,
        notice: Callable[[str | None], None] = lambda _reason: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        keys = settings.api_key_list
        headers = {"Authorization": f"Bearer {keys[0]}"} if keys else {}
        self.base_url = base_url
        self.deadline = deadline
        self.notice = notice
        self.retries = 0
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=70.0, transport=transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def json(self, method: str, path: str, body: object = None, within_s: float | None = None) -> Any:
        """The JSON of a successful response.

        Raises:
            JobError: the request is refused for good, or the deadline passed.
        """
        return (await self._send(method, path, body, within_s)).json()

    async def events(self, task_id: str) -> list[str]:
        """The names of all events of a task that has ended, from its event stream."""
        response = await self._send("GET", f"/api/v1/tasks/{task_id}/events")
        lines = response.text.splitlines()
        return [line.removeprefix("event:").strip() for line in lines if line.startswith("event:")]

    async def _send(self, method: str, path: str, body: object = None, within_s: float | None = None) -> httpx.Response:
        deadline = self.deadline if within_s is None else min(self.deadline, time.monotonic() + within_s)
        for attempt in itertools.count(1):
            retry_after_s = 0.0
            try:
                response = await self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__} at {self.base_url}"
            else:
                if response.is_success:
                    self.notice(None)
                    return response
                reason = error_text(response)
                if not is_retryable(response):
                    raise JobError(f"{method} {path}: {reason}")
                after = response.headers.get("retry-after", "")
                retry_after_s = float(after) if after.isdecimal() else 0.0
            wait = max(retry_after_s, jittered_s(backoff_s(attempt, FIRST_PAUSE_S, LONGEST_PAUSE_S)))
            if time.monotonic() + wait > deadline:
                raise JobError(f"{method} {path}: no success in time; the last response was: {reason}")
            self.retries += 1
            self.notice(reason)
            await asyncio.sleep(wait)
        raise AssertionError("the loop returns or raises")


def is_retryable(response: httpx.Response) -> bool:
    """Whether a restart may be the cause. A proxy without routes yet answers a 404 that is not a problem document."""
    if response.status_code in (408, 425, 429) or response.status_code >= 500:
        return True
    return response.status_code == 404 and not response.headers.get("content-type", "").startswith(PROBLEM_JSON)


def error_text(response: httpx.Response) -> str:
    """The status and detail of an error response."""
    try:
        body = response.json()
    except ValueError:
        body = None
    detail = body.get("detail") if isinstance(body, dict) else None
    return f"{response.status_code} {detail or response.text[:200] or response.reason_phrase}"
