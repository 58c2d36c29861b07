"""Sends requests with retries: when to try again, and for how long."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from seedcore.client.http_protocol import (
    ConnectionFailure,
    FailedAttempt,
    Pause,
    Request,
    Steps,
    refused,
    send,
    unreachable,
)
from seedcore.errors import UnavailableError
from seedcore.tasks.retry import backoff_s

M = TypeVar("M", bound=BaseModel)

SHORTEST_TIMEOUT_S = 0.05


def _jitter() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, not a secret


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """Address, timeouts and retries of a client; all times in seconds.

    Attributes:
        timeout_s: for connecting, and for every read and write of a request.
        retry_for_s: no attempt begins later than this after the first one.
        first_pause_s: the longest pause before the second attempt; it doubles up to `longest_pause_s`. Each pause is a
            random part of that, from half to all of it.
        idle_s: an event stream that is silent for so long counts as broken: SeedCore sends a comment every 15 s.
    """

    base_url: str
    timeout_s: float = 30.0
    retry_for_s: float = 30.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    idle_s: float = 40.0
    now: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = _jitter

    def timeout(self, until: float | None) -> float:
        """The timeout of a request that must end by `until`."""
        left = math.inf if until is None else until - self.now()
        return max(SHORTEST_TIMEOUT_S, min(self.timeout_s, left))


class Retries:
    """The attempts of one operation: the pauses between them, and the time of the last one."""

    def __init__(self, policy: HttpPolicy, until: float | None = None) -> None:
        self._policy = policy
        self._deadline = policy.now() + policy.retry_for_s if until is None else until
        self._attempt = 1

    def pause(self, failed: FailedAttempt) -> Steps[None]:
        """Wait before the next attempt; raises the error of the failed one when there is no time left."""
        policy = self._policy
        # All clients get the same Retry-After, so the jitter is added to it.
        longest_s = backoff_s(self._attempt, policy.first_pause_s, policy.longest_pause_s)
        wait = (failed.error.retry_after_s or 0.0) + longest_s * policy.jitter()
        if policy.now() + wait >= self._deadline:
            raise failed.error
        self._attempt += 1
        yield Pause(wait)


def call(policy: HttpPolicy, request: Request, answer: type[M], until: float | None = None) -> Steps[M]:
    """Send until a request succeeds; `until` replaces the policy's own bound.

    Raises:
        SeedCoreError: what SeedCore answered, or UnavailableError when nothing did.
    """
    retries = Retries(policy, until)
    while True:
        reply = yield from send(request, policy.timeout(until))
        if isinstance(reply, ConnectionFailure):
            failed = unreachable(policy.base_url, reply)
        elif 200 <= reply.status < 300:
            return parse(policy, answer, b"{}" if reply.status == 204 else reply.body)
        else:
            failed = refused(policy.base_url, reply)
        if not failed.retryable or not (request.repeatable or failed.unprocessed):
            raise failed.error
        yield from retries.pause(failed)


def parse(policy: HttpPolicy, answer: type[M], body: bytes) -> M:
    """The body of a successful response.

    Raises:
        UnavailableError: it is not what SeedCore sends.
    """
    try:
        return answer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise UnavailableError(
            f"{policy.base_url} answered, but not as SeedCore does ({where}: {first['msg']}). "
            "Check the base URL, and that client and server are of one major version."
        ) from None
