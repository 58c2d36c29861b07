"""Options of a submission and their bounds: one table for HTTP, the client and `seedcore.enqueue`.

The API's model (`tasks.submission.task_request`), which the client's is made of, takes its bounds from here. Migration
0011 repeats them for SQL; `tests/client/test_ways_in.py` submits each bound, and values beyond it, in all three ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic.fields import FieldInfo

QUEUE_NAME = r"^[a-z][a-z0-9_-]{0,62}$"
NO_NUL = r"^[^\x00]*$"
"""PostgreSQL cannot keep U+0000."""

NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
"""One of them stands between a tenant's name and what is its own."""


@dataclass(frozen=True, slots=True)
class Length:
    """A text of `min` to `max` characters."""

    min: int
    max: int
    pattern: str = NO_NUL

    @property
    def field(self) -> FieldInfo:
        """For pydantic."""
        info: FieldInfo = Field(min_length=self.min, max_length=self.max, pattern=self.pattern)
        return info

    @property
    def stored(self) -> FieldInfo:
        """For pydantic, for texts from PostgreSQL: a pattern costs more than all other checks."""
        info: FieldInfo = Field(min_length=self.min, max_length=self.max)
        return info


@dataclass(frozen=True, slots=True)
class Range:
    """A number of `min` to `max`, both allowed."""

    min: float
    max: float

    @property
    def field(self) -> FieldInfo:
        """For pydantic."""
        info: FieldInfo = Field(ge=self.min, le=self.max)
        return info


TYPE = Length(1, 200)
DOMAIN = Length(0, 200)
KEY = Length(1, 500)
LIMIT_KEY = Length(1, 200, NO_CONTROLS)
PRIORITY = Range(-100, 100)
MAX_ATTEMPTS = Range(1, 100)
TIMEOUT_S = Range(0.001, 86_400)
PERIOD_S = Range(0.001, 366 * 86_400)
MAX_RUNNING = Range(1, 1_000_000)
# One in three years: with less the time of the next start cannot be written down.
RATE_PER_S = Range(1e-8, 1_000_000)
BURST = Range(1, 1_000_000)
COST = Range(0.000001, 1e9)
MAX_LIMITS = 8
"""Limits of one task."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)

BOUNDS: Mapping[str, Length | Range] = {
    "type": TYPE,
    "domain": DOMAIN,
    "priority": PRIORITY,
    "max_attempts": MAX_ATTEMPTS,
    "timeout_s": TIMEOUT_S,
    "idempotency_key": KEY,
    "idempotency_period_s": PERIOD_S,
    "limit.key": LIMIT_KEY,
    "limit.max_running": MAX_RUNNING,
    "limit.rate_per_s": RATE_PER_S,
    "limit.burst": BURST,
    "limit.cost": COST,
}


def _representable(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("must lie in the years 1970 to 9998")
    return moment


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Text = Annotated[str, DOMAIN.field]
Key = Annotated[str, KEY.field]
Moment = Annotated[AwareDatetime, AfterValidator(_representable)]
NUMBER = BeforeValidator(_number)
"""After the bounds of a number: PostgreSQL takes no `true` for 1."""
