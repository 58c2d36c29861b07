"""Parse a cron line; an error names the wrong field, and what was probably meant."""

from datetime import datetime
from typing import NamedTuple

from cronsim import CronSim, CronSimError

from seedcore.errors import InvalidInputError


class _Field(NamedTuple):
    name: str
    allowed: str
    values: int
    seconds: int | None
    """Of one step; None: months and weekdays are no spans of time."""


_FIELDS = (
    _Field("minute", "0 to 59", 60, 60),
    _Field("hour", "0 to 23", 24, 3600),
    _Field("day", "1 to 31, L or LW", 31, 86_400),
    _Field("month", "1 to 12, or JAN to DEC", 12, None),
    _Field("weekday", "0 to 7 (0 and 7 are Sunday), or SUN to SAT", 7, None),
)


def read_cron(line: str) -> CronSim:
    """The five fields of a line.

    Raises:
        InvalidInputError: names the field that is wrong, and what is allowed there.
    """
    parts = line.split()
    if len(parts) != len(_FIELDS):
        raise wrong_time("cron", f"five fields (minute hour day month weekday), got {len(parts)}")
    for field, part in zip(_FIELDS, parts, strict=True):
        _check_steps(field, part)
    parsed = _parse(parts)
    if parsed is not None:
        return parsed
    for n, field in enumerate(_FIELDS):
        if _parse(["*"] * n + [parts[n]] + ["*"] * (len(_FIELDS) - n - 1)) is None:
            how = "a list (1,2), a range (1-5), or either with a step (/2)"
            raise wrong_time("cron", f"{field.name} {parts[n]!r}: {field.allowed}, {how}")
    # Each is right by itself: the day is one that none of the months has.
    raise wrong_time("cron", f"names no day that exists: no month of {parts[3]!r} has a day {parts[2]!r}")


def _parse(parts: list[str]) -> CronSim | None:
    try:
        return CronSim(" ".join(parts), datetime(2000, 1, 1))  # noqa: DTZ001 - the clock on the wall
    except CronSimError:
        return None


def _check_steps(field: _Field, part: str) -> None:
    """A step beyond the field would leave its first value alone: `*/61` would fire every hour."""
    for term in part.split(","):
        step = term.partition("/")[2]
        if not (step.isascii() and step.isdigit()) or (len(step) <= 9 and int(step) <= field.values):
            continue
        meant = (
            f"; for that interval give every_s {int(step) * field.seconds}" if field.seconds and len(step) <= 5 else ""
        )
        raise wrong_time(
            "cron",
            f"{field.name} {term[:40]!r}: the step is larger than the field, which has {field.values} values{meant}",
        )


def wrong_time(field: str, message: str) -> InvalidInputError:
    """The error for a field of a schedule's time."""
    return InvalidInputError.for_field(field, message)
