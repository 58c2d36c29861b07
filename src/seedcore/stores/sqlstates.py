"""Translate PostgreSQL's errors: one list of its SQLSTATEs, and the SeedCore error for each."""

from typing import NamedTuple

import asyncpg

from seedcore import errors
from seedcore.telemetry.logs import mask

ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a statement or a connection attempt may raise."""


class Meaning(NamedTuple):
    """The class of the error (with its code and status), what to do, and after how many seconds to try again."""

    kind: type[errors.UnavailableError]
    detail: str
    retry_after_s: float | None = 1


_AWAY = "PostgreSQL went away ({name}); try again."
_DENIED = "PostgreSQL refuses: {text} (SEEDCORE_PG_DSN)."

MEANINGS: dict[str, Meaning] = {
    # By class or by single SQLSTATE; the longer one holds. What is not here is a fault of SeedCore: 500.
    "08": Meaning(errors.UnavailableError, _AWAY),
    "25006": Meaning(
        errors.DatabaseReadOnlyError,
        "PostgreSQL is read-only: point SEEDCORE_PG_DSN at the primary, or reset default_transaction_read_only.",
        5,
    ),
    "25P03": Meaning(errors.UnavailableError, _AWAY),
    "25P04": Meaning(errors.DatabaseTimeoutError, "PostgreSQL ended a transaction: transaction_timeout.", 1),
    "28": Meaning(errors.DatabaseDeniedError, _DENIED, None),
    "3D000": Meaning(errors.DatabaseDeniedError, _DENIED, None),
    "40": Meaning(errors.DatabaseConflictError, "PostgreSQL undid the transaction ({name}); try again."),
    "42501": Meaning(errors.DatabaseDeniedError, _DENIED, None),
    "53": Meaning(errors.DatabaseMemoryError, "PostgreSQL ran out of a resource: {text}.", 5),
    "53100": Meaning(
        errors.DatabaseFullError, "PostgreSQL's disk is full: free space on its volume, or make it larger.", 30
    ),
    "53200": Meaning(
        errors.DatabaseMemoryError,
        "PostgreSQL is out of memory: give its machine or container more, or ask for less.",
        5,
    ),
    "53300": Meaning(
        errors.DatabaseConnectionsError,
        "PostgreSQL has no connection left: raise max_connections, or lower SEEDCORE_PG_POOL_SIZE.",
    ),
    "55P03": Meaning(errors.DatabaseLockError, "A lock in PostgreSQL did not come free in time; try again."),
    "57014": Meaning(
        errors.DatabaseTimeoutError, "PostgreSQL cancelled a statement (statement_timeout, or by hand); try again."
    ),
    "57P": Meaning(errors.UnavailableError, _AWAY),
    "58": Meaning(errors.DatabaseStorageError, "PostgreSQL cannot read or write its files: its log says which.", 5),
}

# The session has ended with these; any other error leaves it as it was.
_ENDS_SESSION = ("08", "25P03", "25P04", "57P")


def meaning(sqlstate: str) -> Meaning | None:
    """What a SQLSTATE means; None when it is no state of the server's."""
    return next((MEANINGS[sqlstate[:n]] for n in range(5, 1, -1) if sqlstate[:n] in MEANINGS), None)


def translate(error: BaseException, *, connecting: bool = False) -> errors.SeedCoreError | None:
    """The error that clients get; None for one of PostgreSQL's that is not on the list."""
    # An error that is no answer of the server means that the connection was lost.
    found = meaning((error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else "08")
    if found is None:
        return None
    name, text = type(error).__name__, mask(str(error))
    if connecting and found.kind is errors.UnavailableError:
        return found.kind(f"PostgreSQL does not answer ({name}: {text}).", retry_after_s=found.retry_after_s)
    return found.kind(found.detail.format(name=name, text=text), retry_after_s=found.retry_after_s)


def ends_connection(error: BaseException) -> bool:
    """Whether the connection is gone, or in an unknown state."""
    return not isinstance(error, asyncpg.PostgresError) or (error.sqlstate or "").startswith(_ENDS_SESSION)


_ROW_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.CardinalityViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.PLPGSQLError,
)


def is_row_error(error: Exception) -> bool:
    """Whether a statement was refused for what its rows hold: the same rows are refused again, others may not be."""
    return isinstance(error, _ROW_ERRORS)
