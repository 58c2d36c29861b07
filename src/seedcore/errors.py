"""The error hierarchy, and its one mapping to HTTP problem details (RFC 9457).

An error is data: a stable `code`, an HTTP `status`, a `detail` that says how to fix it, and optional `errors` that
name input fields. Raise it where the fact is known; `problem()` renders it once, at the edge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict

MAX_SHOWN = 5
"""Wrong fields that a `detail` names; `errors` has all of them."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong input field: its dotted path and what is allowed there."""

    field: str
    message: str


class ValidationItem(TypedDict):
    """What is read of one item of a pydantic error's `errors()`."""

    loc: tuple[int | str, ...]
    msg: str


def wrong_fields(items: Iterable[ValidationItem], *below: str) -> list[FieldError]:
    """The wrong fields of a pydantic error's `errors()`, their paths put below `below`."""
    return [
        FieldError(".".join([*below, *map(str, item["loc"])]), item["msg"].removeprefix("Value error, "))
        for item in items
    ]


class SeedCoreError(Exception):
    """Base of every error that SeedCore raises on purpose.

    A subclass gives what differs from its parent as arguments: `class FullError(SeedCoreError, code="full"):`.

    Attributes:
        code: stable machine-readable name, part of the public contract.
        status: the HTTP status that it maps to.
        title: the short human name of the class.
        retry_after_s: when set, the client may retry after that many seconds.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init_subclass__(cls, code: str | None = None, status: int | None = None, title: str | None = None) -> None:
        super().__init_subclass__()
        for name, value in (("code", code), ("status", status), ("title", title)):
            if value is not None:
                setattr(cls, name, value)

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
        """Whether a later retry may succeed."""
        return self.status in (429, 500, 502, 503, 504)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle everything: the default would lose the keyword arguments."""
        return _rebuild, (type(self), self.detail, self.errors, self.retry_after_s, self.extra)


def _rebuild(
    kind: type[SeedCoreError],
    detail: str,
    errors: tuple[FieldError, ...],
    retry_after_s: float | None,
    extra: dict[str, Any],
) -> SeedCoreError:
    return kind(detail, errors=errors, retry_after_s=retry_after_s, **extra)


class SettingsError(SeedCoreError, code="bad_setting", title="Bad setting"):
    """A setting is wrong; the process must not start."""


class InvalidInputError(SeedCoreError, code="invalid_input", status=422, title="Invalid input"):
    """The request is well-formed, but a field is not allowed."""

    @classmethod
    def for_field(cls, field: str, message: str) -> Self:
        """One wrong field."""
        return cls.for_fields([FieldError(field, message)])

    @classmethod
    def for_fields(cls, errors: Sequence[FieldError], prefix: str = "") -> Self:
        """Several wrong fields: `detail` names the first five after `prefix`, `errors` has all of them."""
        shown = "; ".join(f"{error.field}: {error.message}" for error in errors[:MAX_SHOWN])
        return cls(prefix + shown, errors=errors)


class NoPlanError(InvalidInputError, code="no_plan", title="No plan"):
    """No sequence of skills leads to the goal; `missing` and `known` name fields."""


class EventIdAheadError(InvalidInputError, code="event_id_ahead", title="Event id ahead"):
    """Last-Event-ID names an event that has not happened: it is another database's, or a later one's."""


class MalformedError(SeedCoreError, code="malformed_request", status=400, title="Malformed request"):
    """The request body cannot be read."""


class TooLargeError(SeedCoreError, code="too_large", status=413, title="Too large"):
    """A payload is over its limit."""


class UnauthorizedError(SeedCoreError, code="unauthorized", status=401, title="Unauthorized"):
    """No API key, or a wrong one."""


class ForbiddenError(SeedCoreError, code="forbidden", status=403, title="Forbidden"):
    """The API key is known, but may not do this."""


class MissingScopeError(ForbiddenError, code="missing_scope", title="Missing scope"):
    """The key does not hold the scope that this needs; `scope` names it."""


class PlatformOnlyError(ForbiddenError, code="platform_only", title="Platform only"):
    """This concerns all tenants, and the key belongs to one."""


class NotFoundError(SeedCoreError, code="not_found", status=404, title="Not found"):
    """The resource does not exist."""


class RequestTimeoutError(SeedCoreError, code="request_timeout", status=408, title="Request timeout"):
    """The request did not arrive in time."""


class ConflictError(SeedCoreError, code="conflict", status=409, title="Conflict"):
    """The resource is not in a state that allows this."""


class TooLittleHistoryError(ConflictError, code="too_little_history", title="Too little history"):
    """Not enough has been recorded yet for a forecast; ask again after `retry_after_s`."""


class MethodNotAllowedError(SeedCoreError, code="method_not_allowed", status=405, title="Method not allowed"):
    """The path does not take this method; `allow` names those that it takes."""


class UnsupportedMediaTypeError(
    SeedCoreError, code="unsupported_media_type", status=415, title="Unsupported media type"
):
    """The body is in a format or an encoding that is not supported."""


class PreconditionFailedError(SeedCoreError, code="precondition_failed", status=412, title="Precondition failed"):
    """The resource has changed since the caller read it."""


class OverloadedError(SeedCoreError, code="overloaded", status=429, title="Too many requests"):
    """Too many requests at once; retry later."""


class UnavailableError(SeedCoreError, code="unavailable", status=503, title="Unavailable"):
    """A dependency does not answer."""


class SchemaBehindError(UnavailableError, code="schema_behind", title="Database schema is behind"):
    """The database has not been migrated to this version yet."""


class DatabaseFullError(UnavailableError, code="database_full", title="Database full"):
    """The database's disk is full: reads work, writes do not."""


class DatabaseReadOnlyError(UnavailableError, code="database_read_only", title="Database is read-only"):
    """The database takes no writes: it is a standby, or set to read-only."""


class DatabaseMemoryError(UnavailableError, code="database_out_of_memory", title="Database out of memory"):
    """The database ran out of memory or of another limited resource."""


class DatabaseConnectionsError(
    UnavailableError, code="database_too_many_connections", title="Too many database connections"
):
    """The database has reached its limit of connections."""


class DatabaseConflictError(UnavailableError, code="database_conflict", title="Database conflict"):
    """The database rolled a transaction back because of a concurrent one."""


class DatabaseLockError(UnavailableError, code="database_lock_timeout", title="Database lock timeout"):
    """A lock in the database was not released in time."""


class DatabaseTimeoutError(UnavailableError, code="database_timeout", title="Database timeout"):
    """The database cancelled a statement or transaction: it took too long, or a person cancelled it."""


class DatabaseStorageError(UnavailableError, code="database_io_error", title="Database storage error"):
    """The database cannot read or write its files."""


class NotConfiguredError(UnavailableError, code="not_configured", title="Not configured"):
    """The feature needs a setting that is not set."""

    @property
    def transient(self) -> bool:
        """False: retrying does not help until the setting is set."""
        return False


class DatabaseDeniedError(NotConfiguredError, code="database_denied", title="Database access denied"):
    """The database refuses this user, or does not permit what it tried."""


class BadGatewayError(SeedCoreError, code="bad_gateway", status=502, title="Bad gateway"):
    """The proxy lost the service during a request, which may have been carried out."""


class ActionFailedError(SeedCoreError, code="action_failed", status=502, title="Action failed"):
    """The decision was made and recorded, but its action failed; `id` names the record."""


class DeadlineError(SeedCoreError, code="deadline_exceeded", status=504, title="Deadline exceeded"):
    """It did not finish in time."""


class RayConnectionError(UnavailableError, code="ray_unavailable", title="Ray unavailable"):
    """No Ray cluster can be reached, or several could be meant."""


class SkillError(SeedCoreError, code="skill_failed", status=500, title="Skill failed"):
    """A skill failed. `retryable=False` says that a retry cannot succeed."""

    @property
    def transient(self) -> bool:
        """True unless the skill said that a retry cannot succeed."""
        return bool(self.extra.get("retryable", True))


def problem(error: SeedCoreError) -> dict[str, object]:
    """Render an error as an RFC 9457 problem document (plain JSON types)."""
    document: dict[str, object] = {
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
    """SeedCore's own errors by code; errors that skills define are left out, as they may reuse a code."""
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
    retry_after_s = document.get("retry_after_s")
    return kind(str(document.get("detail", "unknown error")), errors=errors, retry_after_s=retry_after_s, **extra)
