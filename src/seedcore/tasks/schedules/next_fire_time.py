"""Compute a schedule's ticks: from a cron line in a time zone, or an interval. Every time is aware; ticks are in UTC.

Where clocks are put forward or back, a line with a fixed minute and hour (neither field begins with `*`) fires once a
day all the same: a time that does not exist, at the first moment after the gap; a time that comes twice, the first one.
A line that begins one of the two with `*` goes by the clock on the wall: not in the gap, and in both passes of an hour
that comes twice. That is what Debian's cron does. An interval goes by elapsed time and knows no clock on the wall.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from seedcore.errors import InvalidInputError
from seedcore.tasks.schedules.cron_line import read_cron, wrong_time

NEVER_YEARS = 50
"""A line without a tick in so many years has none."""

COUNTED = 100
"""Missed ticks are counted up to this many at a time: ten thousand schedules may have missed a week of minutes."""

_SPAN = timedelta(hours=3)
"""More than clocks are put forward or back."""
_MOMENT = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_KEPT_HOURS = 16


class Due(NamedTuple):
    """The newest ticks that are due, oldest first, and how many there were before them (up to COUNTED)."""

    ticks: list[datetime]
    missed: int


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When something fires; exactly one of `cron` and `every_s` is given.

    Attributes:
        cron: five fields: minute, hour, day of the month, month, day of the week.
        every_s: seconds from one tick to the next.
        timezone: IANA name of the zone that `cron` is meant in.
        anchor: an interval's ticks are this moment and whole intervals from it.
        ends_at: no tick is after this.
    """

    cron: str | None
    every_s: float | None
    timezone: str
    anchor: datetime
    ends_at: datetime | None = None

    def check(self) -> None:
        """See that line and zone make sense.

        Raises:
            InvalidInputError: names `cron` or `timezone` and what is allowed.
        """
        if self.timezone not in _zones():
            raise _no_zone(self.timezone)
        if self.cron is not None:
            _line(self.cron, self.timezone)

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after `moment`, in UTC; None when there is none any more."""
        if self.cron is not None:
            tick = _line(self.cron, self.timezone).after(moment)
        else:
            assert self.every_s is not None
            every = timedelta(seconds=self.every_s)
            try:
                tick = self.anchor + ((moment - self.anchor) // every + 1) * every
            except OverflowError:
                tick = None
        if tick is None or (self.ends_at is not None and tick > self.ends_at):
            return None
        return tick.astimezone(UTC)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """The first tick that is not before `moment`, in UTC; None when there is none any more."""
        return self.after(moment - _MOMENT)

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The next `count` ticks after `moment`, or as many as there are."""
        return list(islice(self._walk(moment), count))

    def due(self, first: datetime, now: datetime, limit: int) -> Due:
        """The newest `limit` ticks from the tick `first` to `now`, both included."""
        if self.ends_at is not None:
            now = min(now, self.ends_at)
        if first > now:
            return Due([], 0)
        # Looked for from behind, so that a year of missed minutes costs no more than one of missed months.
        window = _HOUR if self.every_s is None else limit * timedelta(seconds=self.every_s)
        while True:
            begin = max(first, now - window)
            found = deque([first] if begin == first else [], maxlen=limit)
            found.extend(self._until(begin if begin == first else begin - _MOMENT, now))
            if begin == first or len(found) == limit:
                break
            window *= 2
        return Due(list(found), self._count(first, found[0]))

    def _count(self, first: datetime, end: datetime) -> int:
        """How many ticks there are from the tick `first` on and before `end`, up to COUNTED."""
        if first == end:
            return 0
        return 1 + sum(1 for _ in islice(self._until(first, end - _MOMENT), COUNTED - 1))

    def _until(self, moment: datetime, last: datetime) -> Iterator[datetime]:
        for tick in self._walk(moment):
            if tick > last:
                return
            yield tick

    def _walk(self, moment: datetime) -> Iterator[datetime]:
        tick = self.after(moment)
        while tick is not None:
            yield tick
            tick = self.after(tick)


class _Line:
    """A cron line in a zone: which hours it names, and which moments those are."""

    def __init__(self, cron: str, timezone: str) -> None:
        self._fields = read_cron(cron)
        self._zone = _zone_of(timezone)
        self._fixed = not any(field.startswith("*") for field in cron.split()[:2])
        self._minutes, self._hours = sorted(self._fields.minutes), sorted(self._fields.hours)
        self._known: dict[datetime, list[datetime]] = {}

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after `moment`."""
        wall = moment.astimezone(self._zone).replace(tzinfo=None)
        start = wall - _SPAN if _shifts_near(self._zone, _hour_of(moment)) else wall
        best: datetime | None = None
        best_hour = start
        for hour in self._named_hours(start):
            if best is not None and hour > best_hour + _SPAN:
                break
            ticks = self._ticks(hour)
            at = bisect_right(ticks, moment)
            if at < len(ticks) and (best is None or ticks[at] < best):
                best, best_hour = ticks[at], hour
            # The clock on the wall and time go the same way, except where the clock is put forward or back.
            if best is not None and not _shifts_near(self._zone, _hour_of(best)):
                break
        return best

    def _named_hours(self, start: datetime) -> Iterator[datetime]:
        """The hours on the wall that the line names, from that of `start` on."""
        day, last_year = start.date(), min(start.year + NEVER_YEARS, MAXYEAR - 1)
        while day.year <= last_year:
            if day.month not in self._fields.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if self._fields.match_day(day):
                for hour in self._hours:
                    if day != start.date() or hour >= start.hour:
                        yield datetime.combine(day, time(hour))
            day += timedelta(days=1)

    def _ticks(self, hour: datetime) -> list[datetime]:
        """The ticks in an hour on the wall, sorted."""
        known = self._known.get(hour)
        if known is None:
            if len(self._known) >= _KEPT_HOURS:
                self._known.clear()
            found = {tick for minute in self._minutes for tick in self._resolve(hour.replace(minute=minute))}
            known = self._known[hour] = sorted(found)
        return known

    def _resolve(self, wall: datetime) -> list[datetime]:
        """The moments at which the clock on the wall shows this."""
        first, second = (wall.replace(tzinfo=self._zone, fold=fold).utcoffset() for fold in (0, 1))
        assert first is not None
        assert second is not None
        early, late = sorted(wall.replace(tzinfo=UTC) - offset for offset in (first, second))
        if first == second:
            return [early]
        if first > second:
            return [early] if self._fixed else [early, late]
        return [self._shift(early, late)] if self._fixed else []

    def _shift(self, before: datetime, after: datetime) -> datetime:
        """The moment between the two at which the clock is put forward, to the second."""
        old = before.astimezone(self._zone).utcoffset()
        low, high = 0, math.ceil((after - before).total_seconds())
        while high - low > 1:
            middle = (low + high) // 2
            if (before + timedelta(seconds=middle)).astimezone(self._zone).utcoffset() == old:
                low = middle
            else:
                high = middle
        return before + timedelta(seconds=high)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


@lru_cache(maxsize=4096)
def _shifts_near(zone: ZoneInfo, hour: datetime) -> bool:
    """Whether clocks are put forward or back within _SPAN of any moment of that hour."""
    before, after = (edge.astimezone(zone).utcoffset() for edge in (hour - _SPAN, hour + _HOUR + _SPAN))
    return before != after


@lru_cache(maxsize=1024)
def _line(cron: str, timezone: str) -> _Line:
    line = _Line(cron, timezone)
    if line.after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise wrong_time("cron", "names no day that exists")
    return line


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    """Names that mean the same on every machine: `localtime` is none of them."""
    return frozenset(available_timezones() - {"localtime"})


def _zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise _no_zone(name) from None


def _no_zone(name: str) -> InvalidInputError:
    return wrong_time("timezone", f"no time zone {name!r}: a name of the IANA database, such as Europe/Berlin or UTC")
