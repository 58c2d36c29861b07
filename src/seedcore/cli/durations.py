"""Times on the command line: `90d`, `12h`, `30m`, `45s`, seconds, or a moment."""

import re
from datetime import UTC, datetime, timedelta

from seedcore.errors import InvalidInputError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)


def seconds_of(text: str) -> float:
    """The seconds of a duration.

    Raises:
        InvalidInputError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidInputError.for_field("duration", f"{text!r} is none: write 90d, 12h, 30m, 45s, or seconds")
    return float(found[1]) * _UNITS[found[2]]


def moment_of(text: str) -> datetime:
    """The moment that a text names: ISO 8601 (UTC without a zone), or a duration before now.

    Raises:
        InvalidInputError: it is neither.
    """
    try:
        if _DURATION.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=seconds_of(text))
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidInputError.for_field("time", f"{text!r} is none: write 2026-01-31T12:00:00Z, or 24h") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
