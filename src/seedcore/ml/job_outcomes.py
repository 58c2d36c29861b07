"""What skills that are jobs of models share: their errors, their count and their progress."""

import time
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
from seedcore.skills.context import SkillContext
from seedcore.telemetry.metrics import counter

# A retry would raise these again.
NOT_RETRYABLE = (InvalidInputError, NotFoundError, ConflictError, TooLargeError, NotConfiguredError, DeadlineError)
_REPORT_S = 0.1


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
        retryable = not isinstance(error, NOT_RETRYABLE)
        counts.add(1, kind=kind, outcome="retried" if retryable else "failed")
        if isinstance(error, SkillError):
            raise
        raise SkillError(error.detail, errors=error.errors, retryable=retryable, cause=error.code) from error
    except Exception:
        counts.add(1, kind=kind, outcome="failed")
        raise
    counts.add(1, kind=kind, outcome="completed")


class ThrottledReport:
    """Reports rounds as a skill's progress, at most ten times a second and at the end."""

    def __init__(self, context: SkillContext) -> None:
        self._context, self._next = context, 0.0

    def __call__(self, done: int, total: int) -> None:
        """(rounds done, rounds in all)."""
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + _REPORT_S
            self._context.report_progress(done, total, "rounds")
