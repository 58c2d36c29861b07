"""What the protocol asks of the network, as data.

Every operation is a generator (a `Flow`) that yields steps and gets their answers sent in: it decides, and touches
neither a socket nor a clock of its own. The sync and the async class only carry the steps out, so there is one
implementation of retries, resuming, paging and splitting.
"""

import email.utils
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import orjson

from seedcore import errors

T = TypeVar("T")

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, below the base URL. `repeatable`: doing it twice is the same as doing it once."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def arguments(self, timeout_s: float) -> dict[str, Any]:
        """What httpx's `build_request` takes."""
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
    """An answer. The body is empty when it is an event stream that `Read` reads on."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def streams(self) -> bool:
        """Whether it is an event stream."""
        return self.status == 200 and self.headers.get("content-type", "").startswith("text/event-stream")


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `sent`: the request may have arrived."""

    reason: str
    sent: bool

    @classmethod
    def of(cls, error: httpx.RequestError) -> "Failure":
        """What httpx ran into."""
        text = str(error)
        unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        return cls(type(error).__name__ + (f": {text}" if text else ""), not isinstance(error, unsent))


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; answered with a Reply or a Failure."""

    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Open:
    """The same for a request whose answer may be an event stream; a read may take `timeout_s`."""

    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the open stream, empty at its end; answered with bytes or a Failure."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the open stream."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Something for a caller who iterates; others drop it."""

    item: Any


Step = Send | Open | Read | Close | Pause | Emit
Flow = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no good answer. `again`: a later attempt may do better; `untouched`: nothing has been done."""

    error: errors.SeedCoreError
    again: bool
    untouched: bool = False


def unreachable(base_url: str, failure: Failure) -> Trouble:
    """The trouble of a request without an answer."""
    mend = "Is SeedCore running, and is the base URL right?"
    return Trouble(
        errors.UnavailableError(f"{base_url} does not answer ({failure.reason}). {mend}"), True, not failure.sent
    )


def refused(base_url: str, reply: Reply) -> Trouble:
    """The trouble that an answer stands for: the error that SeedCore raised, or what something in between says."""
    document = _json_object(reply.body)
    after = retry_after_s(reply.headers)
    if document is None or not isinstance(document.get("code"), str):
        return _foreign(base_url, reply.status, after)
    error = errors.from_problem(_clean(document))
    if after is not None:
        error.retry_after_s = after
    untouched = error.transient and reply.status in (429, 503)
    return Trouble(error, untouched or isinstance(error, errors.BadGatewayError), untouched)


def _foreign(base_url: str, status: int, after: float | None) -> Trouble:
    """An answer that is no problem document: a proxy's, or another server's."""
    kinds = {401: errors.UnauthorizedError, 413: errors.TooLargeError, 429: errors.OverloadedError}
    kind: type[errors.SeedCoreError] = kinds.get(status, errors.UnavailableError)
    mend = "Check the base URL and whatever stands in front of SeedCore."
    error = kind(f"{base_url} answered {status}, and not as SeedCore does. {mend}", retry_after_s=after)
    # While SeedCore restarts, a proxy without its routes answers 404.
    return Trouble(error, status in (404, 429, 502, 503, 504), untouched=status == 429)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds that `Retry-After` asks to wait (RFC 9110 §10.2.3: a number, or a date); None without one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _clean(document: dict[str, Any]) -> dict[str, Any]:
    """A problem document whose known fields have the types they must have."""
    wrong = document.get("errors")
    again = document.get("retry_after_s")
    return {
        **document,
        "errors": [item for item in wrong if isinstance(item, dict)] if isinstance(wrong, list) else [],
        "retry_after_s": float(again) if isinstance(again, int | float) and not isinstance(again, bool) else None,
    }
