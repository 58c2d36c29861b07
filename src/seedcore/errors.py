"""The error hierarchy, and its one mapping to HTTP problem details (RFC 9457).

An error is data: a stable `code`, an HTTP `status`, a `detail` that tells the mend, and optional `errors` that
name input fields. Raise it where the fact is known; `problem()` renders it once, at the edge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

MAX_SHOWN = 5
"""Wrong fields that a `detail` names; `errors` has all of them."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong input field: its dotted path and what is allowed there."""

    field: str
    message: str


def wrong_fields(items: Iterable[Mapping[str, Any]], *below: str) -> list[FieldError]:
    """The wrong fields of a pydantic error's `errors()`, their paths put below `below`."""
    return [
        FieldError(".".join([*below, *map(str, item["loc"])]), str(item["msg"]).removeprefix("Value error, "))
        for item in items
    ]


class SeedCoreError(Exception):
    """Base of every error that SeedCore raises on purpose.

    Attributes:
        code: stable machine-readable name, part of the public contract.
        status: the HTTP status that it maps to.
        title: the short human name of the class.
        retry_after_s: when set, the client may try again after that many seconds.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        self.extra = extra

    @property
    def transient(self) -> bool:
        """Whether the same thing may succeed when it is tried again later."""
        return self.status in (429, 500, 502, 503, 504)

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process borders whole: the default would lose the keyword arguments."""
        return _rebuild, (type(self), self.detail, self.errors, self.retry_after_s, self.extra)


def _rebuild(
    kind: type[SeedCoreError],
    detail: str,
    errors: tuple[FieldError, ...],
    retry_after_s: float | None,
    extra: dict[str, Any],
) -> SeedCoreError:
    return kind(detail, errors=errors, retry_after_s=retry_after_s, **extra)


class SettingsError(SeedCoreError):
    """A setting is wrong; the process must not start."""

    code, title = "bad_setting", "Bad setting"


class InvalidInputError(SeedCoreError):
    """The request is well-formed, but a field is not allowed."""

    code, status, title = "invalid_input", 422, "Invalid input"

    @classmethod
    def for_field(cls, field: str, message: str) -> Self:
        """One wrong field."""
        return cls.for_fields([FieldError(field, message)])

    @classmethod
    def for_fields(cls, errors: Sequence[FieldError], prefix: str = "") -> Self:
        """Several wrong fields: `detail` names the first five after `prefix`, `errors` has all of them."""
        shown = "; ".join(f"{error.field}: {error.message}" for error in errors[:MAX_SHOWN])
        return cls(prefix + shown, errors=errors)


class NoPlanError(InvalidInputError):
    """No sequence of skills leads to the goal; `missing` and `known` name fields."""

    code, title = "no_plan", "No plan"


class EventIdAheadError(InvalidInputError):
    """A stream is to resume after an event that has not happened: the id is of another database, or of a later one."""

    code, title = "event_id_ahead", "Event id ahead"


class MalformedError(SeedCoreError):
    """The request body cannot be read at all."""

    code, status, title = "malformed_request", 400, "Malformed request"


class TooLargeError(SeedCoreError):
    """A payload is over its limit."""

    code, status, title = "too_large", 413, "Too large"


class UnauthorizedError(SeedCoreError):
    """No API key, or a wrong one."""

    code, status, title = "unauthorized", 401, "Unauthorized"


class ForbiddenError(SeedCoreError):
    """The API key is known, but may not do this."""

    code, status, title = "forbidden", 403, "Forbidden"


class NotFoundError(SeedCoreError):
    """There is no such thing."""

    code, status, title = "not_found", 404, "Not found"


class RequestTimeoutError(SeedCoreError):
    """The request did not arrive in time."""

    code, status, title = "request_timeout", 408, "Request timeout"


class ConflictError(SeedCoreError):
    """The thing is not in a state that allows this."""

    code, status, title = "conflict", 409, "Conflict"


class MethodNotAllowedError(SeedCoreError):
    """The path exists, but not for this method; `allow` names those that it takes."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class UnsupportedMediaTypeError(SeedCoreError):
    """The body is in a format or an encoding that is not read here."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class PreconditionFailedError(SeedCoreError):
    """Somebody changed the thing since the caller read it."""

    code, status, title = "precondition_failed", 412, "Precondition failed"


class OverloadedError(SeedCoreError):
    """Too much is asked at once; try again later."""

    code, status, title = "overloaded", 429, "Too many requests"


class UnavailableError(SeedCoreError):
    """Something that this depends on does not answer."""

    code, status, title = "unavailable", 503, "Unavailable"


class SchemaBehindError(UnavailableError):
    """The database has not been migrated to this version yet."""

    code, title = "schema_behind", "Database schema is behind"


class DatabaseFullError(UnavailableError):
    """The database's disk is full: it can be read, and nothing can be written."""

    code, title = "database_full", "Database full"


class DatabaseReadOnlyError(UnavailableError):
    """The database takes no writes: it is a standby, or was set to read-only."""

    code, title = "database_read_only", "Database is read-only"


class DatabaseMemoryError(UnavailableError):
    """The database ran out of memory, or of another resource that it has only so much of."""

    code, title = "database_out_of_memory", "Database out of memory"


class DatabaseConnectionsError(UnavailableError):
    """The database has as many connections as it takes."""

    code, title = "database_too_many_connections", "Too many database connections"


class DatabaseConflictError(UnavailableError):
    """The database undid a transaction because of another one at the same time."""

    code, title = "database_conflict", "Database conflict"


class DatabaseLockError(UnavailableError):
    """A lock in the database did not come free in time."""

    code, title = "database_lock_timeout", "Database lock timeout"


class DatabaseTimeoutError(UnavailableError):
    """The database cancelled a statement or transaction, because it took too long or somebody asked for it."""

    code, title = "database_timeout", "Database timeout"


class DatabaseStorageError(UnavailableError):
    """The database cannot read or write its files."""

    code, title = "database_io_error", "Database storage error"


class NotConfiguredError(UnavailableError):
    """The feature needs a setting that is not set."""

    code, title = "not_configured", "Not configured"

    @property
    def transient(self) -> bool:
        """False: nothing changes until somebody sets the setting."""
        return False


class DatabaseDeniedError(NotConfiguredError):
    """The database does not let this user in, or not do this."""

    code, title = "database_denied", "Database access denied"


class BadGatewayError(SeedCoreError):
    """The proxy lost the service in the middle of a request, which may have been carried out."""

    code, status, title = "bad_gateway", 502, "Bad gateway"


class ActionFailedError(SeedCoreError):
    """All was decided and recorded, and what was to be done failed; `id` names the record."""

    code, status, title = "action_failed", 502, "Action failed"


class DeadlineError(SeedCoreError):
    """It did not end in time."""

    code, status, title = "deadline_exceeded", 504, "Deadline exceeded"


class RayConnectionError(UnavailableError):
    """No Ray cluster can be reached, or it is unclear which one is meant."""

    code, title = "ray_unavailable", "Ray unavailable"


class SkillError(SeedCoreError):
    """A skill failed. `retryable=False` says that another attempt is pointless."""

    code, status, title = "skill_failed", 500, "Skill failed"

    @property
    def transient(self) -> bool:
        """True unless the skill said that trying again is pointless."""
        return bool(self.extra.get("retryable", True))


def problem(error: SeedCoreError) -> dict[str, Any]:
    """Render an error as an RFC 9457 problem document (plain JSON types)."""
    document: dict[str, Any] = {
        "type": f"urn:seedcore:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.errors:
        document["errors"] = [{"field": item.field, "message": item.message} for item in error.errors]
    if error.retry_after_s is not None:
        document["retry_after_s"] = error.retry_after_s
    document.update({key: value for key, value in error.extra.items() if key not in document})
    return document


def known_errors(root: type[SeedCoreError] = SeedCoreError) -> dict[str, type[SeedCoreError]]:
    """SeedCore's own errors by code: a skill's may have any code, or that of its parent."""
    found = {root.code: root}
    for child in root.__subclasses__():
        if child.__module__.partition(".")[0] == __package__:
            found = known_errors(child) | found
    return found


def from_problem(document: Mapping[str, Any]) -> SeedCoreError:
    """Rebuild the error that a SeedCore service answered with, for typed clients."""
    kind = known_errors().get(str(document.get("code")), SeedCoreError)
    errors = [FieldError(str(e.get("field")), str(e.get("message"))) for e in document.get("errors") or ()]
    known = {"type", "title", "status", "detail", "code", "errors", "retry_after_s", "self"}
    extra = {str(k): v for k, v in document.items() if k not in known}
    again = document.get("retry_after_s")
    return kind(str(document.get("detail", "unknown error")), errors=errors, retry_after_s=again, **extra)
