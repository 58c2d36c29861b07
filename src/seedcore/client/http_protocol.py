"""The steps between an operation and the network, as data.

Every operation is a generator that yields steps and receives their answers: it decides, and opens no socket itself. The
sync and the async client only carry the steps out, so retries, resuming, paging and batching are implemented once.
"""

import email.utils
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypedDict, TypeVar

import httpx
import orjson

from seedcore import errors

T = TypeVar("T")

PREFIX = "/api/v1"


class RequestArguments(TypedDict):
    """Arguments of httpx's `build_request`."""

    method: str
    url: str
    params: dict[str, str | int] | None
    content: bytes | None
    headers: dict[str, str]
    timeout: float


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, below the base URL. `repeatable`: sending it twice has the same effect as sending it once."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def arguments(self, timeout_s: float) -> RequestArguments:
        """The request for httpx."""
        headers = dict(self.headers)
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return {
            "method": self.method,
            "url": self.path,
            "params": dict(self.query) or None,
            "content": self.body,
            "headers": headers,
            "timeout": timeout_s,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. The body is empty for an event stream, which `ReadStream` reads."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self.status == 200 and self.headers.get("content-type", "").startswith("text/event-stream")


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """No response. `sent`: the request may have arrived."""

    reason: str
    sent: bool

    @classmethod
    def of(cls, error: httpx.RequestError) -> "ConnectionFailure":
        """The failure behind an error of httpx."""
        text = str(error)
        unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        return cls(type(error).__name__ + (f": {text}" if text else ""), not isinstance(error, unsent))


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Send a request; the answer is a Reply or a ConnectionFailure."""

    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Send a request whose response may be an event stream; each read may take `timeout_s`."""

    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ReadStream:
    """Read the open stream; the answer is its next bytes (empty at its end) or a ConnectionFailure."""


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close the open stream."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """An item for a caller who iterates; other callers drop it."""

    item: object


Step = SendRequest | OpenStream | ReadStream | CloseStream | Pause | Emit
StepAnswer = Reply | ConnectionFailure | bytes | None
Steps = Generator[Step, StepAnswer, T]
"""An operation: it yields steps, receives their answers and returns a T."""


def send(request: Request, timeout_s: float) -> Steps[Reply | ConnectionFailure]:
    """The response to a request."""
    answer = yield SendRequest(request, timeout_s)
    return _response(answer)


def open_stream(request: Request, timeout_s: float) -> Steps[Reply | ConnectionFailure]:
    """The response to a request for an event stream, which stays open for `read_stream`."""
    answer = yield OpenStream(request, timeout_s)
    return _response(answer)


def _response(answer: StepAnswer) -> Reply | ConnectionFailure:
    assert isinstance(answer, Reply | ConnectionFailure)
    return answer


def read_stream() -> Steps[bytes | ConnectionFailure]:
    """The next bytes of the open stream; empty at its end."""
    answer = yield ReadStream()
    assert isinstance(answer, bytes | ConnectionFailure)
    return answer


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """Why an attempt failed. `retryable`: a later one may succeed; `unprocessed`: the server did nothing."""

    error: errors.SeedCoreError
    retryable: bool
    unprocessed: bool = False


def unreachable(base_url: str, failure: ConnectionFailure) -> FailedAttempt:
    """The failed attempt of a request without a response."""
    hint = "Is SeedCore running, and is the base URL right?"
    error = errors.UnavailableError(f"{base_url} does not answer ({failure.reason}). {hint}")
    return FailedAttempt(error, retryable=True, unprocessed=not failure.sent)


def refused(base_url: str, reply: Reply) -> FailedAttempt:
    """The failed attempt behind an error response, sent by SeedCore or by something in between."""
    document = _json_object(reply.body)
    after = retry_after_s(reply.headers)
    if document is None or not isinstance(document.get("code"), str):
        return _not_seedcore(base_url, reply.status, after)
    error = errors.from_problem(_clean(document))
    if after is not None:
        error.retry_after_s = after
    unprocessed = error.transient and reply.status in (429, 503)
    return FailedAttempt(error, unprocessed or isinstance(error, errors.BadGatewayError), unprocessed)


def _not_seedcore(base_url: str, status: int, after: float | None) -> FailedAttempt:
    """A response that is not a problem document: a proxy's, or another server's."""
    kinds = {401: errors.UnauthorizedError, 413: errors.TooLargeError, 429: errors.OverloadedError}
    kind: type[errors.SeedCoreError] = kinds.get(status, errors.UnavailableError)
    hint = "Check the base URL and any proxy in front of SeedCore."
    error = kind(f"{base_url} answered {status}, and not as SeedCore does. {hint}", retry_after_s=after)
    # While SeedCore restarts, a proxy that lacks its routes answers 404.
    return FailedAttempt(error, status in (404, 429, 502, 503, 504), unprocessed=status == 429)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that `Retry-After` asks for (RFC 9110 §10.2.3: seconds or a date), in seconds; None without one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _clean(document: dict[str, object]) -> dict[str, object]:
    """The problem document with known fields of the right types."""
    wrong = document.get("errors")
    after = document.get("retry_after_s")
    return {
        **document,
        "errors": [item for item in wrong if isinstance(item, dict)] if isinstance(wrong, list) else [],
        "retry_after_s": float(after) if isinstance(after, int | float) and not isinstance(after, bool) else None,
    }
