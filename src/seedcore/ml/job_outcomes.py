"""What skills that are jobs of models share: how their errors end them, and their count."""

from collections.abc import Iterator
from contextlib import contextmanager

from seedcore.errors import (
    ConflictError,
    DeadlineError,
    InvalidInputError,
    NotConfiguredError,
    NotFoundError,
    SeedCoreError,
    SkillError,
    TooLargeError,
)
from seedcore.telemetry.metrics import counter

# A retry would raise these again.
NOT_RETRYABLE = (InvalidInputError, NotFoundError, ConflictError, TooLargeError, NotConfiguredError, DeadlineError)


@contextmanager
def job_errors(kind: str) -> Iterator[None]:
    """Count an attempt of a job by how it ends, and raise what stops it as the error of a skill.

    Args:
        kind: of job, such as `train`.

    Raises:
        SkillError: with the fields that are wrong; it may be retried when another attempt may succeed.
    """
    counts = counter("seedcore_model_jobs_total")
    try:
        yield
    except SeedCoreError as error:
        retryable = error.transient if isinstance(error, SkillError) else not isinstance(error, NOT_RETRYABLE)
        counts.add(1, kind=kind, outcome="retried" if retryable else "failed")
        if isinstance(error, SkillError):
            raise
        raise SkillError(error.detail, errors=error.errors, retryable=retryable, cause=error.code) from error
    except Exception:
        counts.add(1, kind=kind, outcome="failed")
        raise
    counts.add(1, kind=kind, outcome="completed")
