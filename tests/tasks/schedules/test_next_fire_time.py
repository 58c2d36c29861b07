"""When ticks are: against a clock on the wall that is watched minute by minute, and where clocks are changed."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.tasks.schedules.next_fire_time import COUNTED, Rhythm

MINUTE = timedelta(minutes=1)
# Clocks go forward and back by one hour, by half an hour, by two; at midnight; with Ramadan; never.
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Cairo",
    "America/Havana",
    "America/Nuuk",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "UTC",
]
BERLIN_FORWARD = datetime(2026, 3, 29, 1, tzinfo=UTC)
BERLIN_BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)


def rhythm(cron: str | None = None, every_s: float | None = None, zone: str = "UTC", **more) -> Rhythm:
    return Rhythm(cron, every_s, zone, more.pop("anchor", datetime(2026, 1, 1, tzinfo=UTC)), **more)


def walls(cron: str, zone: str, begin: datetime, count: int) -> list[str]:
    """Ticks as the clock on the wall shows them."""
    ticks = rhythm(cron, zone=zone).upcoming(begin, count)
    return [tick.astimezone(ZoneInfo(zone)).isoformat()[:22].removesuffix(":") for tick in ticks]


def changes(zone: str, year: int) -> list[datetime]:
    """The hours of a year in which the zone's clocks are changed."""
    info, found = ZoneInfo(zone), []
    for hour in range(366 * 24):
        at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        if at.astimezone(info).utcoffset() != (at + timedelta(hours=1)).astimezone(info).utcoffset():
            found.append(at)
    return found


CHANGES = [(zone, at) for zone in ZONES for at in changes(zone, 2026) or [datetime(2026, 6, 1, tzinfo=UTC)]]
LISTS = st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True)
FIELDS = st.one_of(LISTS, st.sampled_from(["*", "*/7", "*/2"]))


def named(field: list[int] | str, size: int) -> set[int]:
    if isinstance(field, str):
        return set(range(0, size, int(field.removeprefix("*").removeprefix("/") or 1)))
    return set(field)


def text(field: list[int] | str) -> str:
    return field if isinstance(field, str) else ",".join(map(str, field))


def watched(
    minutes: set[int], hours: set[int], zone: str, fixed: bool, begin: datetime, end: datetime
) -> Iterator[datetime]:
    """The ticks after `begin` up to `end`, found by looking at the clock every minute."""
    info = ZoneInfo(zone)
    at = begin - timedelta(hours=30)
    before = at.astimezone(info).replace(tzinfo=None)
    while (at := at + MINUTE) <= end:
        shown = at.astimezone(info)
        wall = shown.replace(tzinfo=None, fold=0)
        left_out = [before + n * MINUTE for n in range(1, max(1, int((wall - before) / MINUTE)))]
        named_now = wall.minute in minutes and wall.hour in hours and not (fixed and shown.fold)
        made_up = fixed and any(w.minute in minutes and w.hour in hours for w in left_out)
        if (named_now or made_up) and at > begin:
            yield at
        before = wall


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CHANGES), FIELDS, FIELDS, st.integers(-26 * 60, 6 * 60))
@example(("Europe/Berlin", BERLIN_FORWARD), [0, 15], [2], -60)
@example(("Australia/Lord_Howe", CHANGES[4][1]), "*/7", [1, 2], -60)
def test_ticks_are_where_the_clock_on_the_wall_shows_them(change, minute, hour, minutes_before):
    zone, at = change
    begin = at + timedelta(minutes=minutes_before)
    end = begin + timedelta(hours=30)
    fixed = isinstance(minute, list) and isinstance(hour, list)
    expected = list(watched(named(minute, 60), named(hour, 24), zone, fixed, begin, end))
    found = rhythm(f"{text(minute)} {text(hour)} * * *", zone=zone, ends_at=end).upcoming(begin, 10_000)
    assert found == expected


LINES = st.builds(
    lambda m, h, d, mo, w: " ".join([text(m), text(h), d, mo, w]),
    FIELDS,
    FIELDS,
    st.sampled_from(["*", "1", "31", "L", "*/9"]),
    st.sampled_from(["*", "2", "3,10", "JAN-MAR"]),
    st.sampled_from(["*", "1-5", "SUN", "1#2", "5L"]),
).filter(lambda line: line.split()[2:4] != ["31", "2"])


@settings(max_examples=60, deadline=None)
@given(LINES, st.sampled_from(CHANGES), st.integers(-(10**6), 10**6), st.floats(0, 1))
def test_the_next_tick_is_after_and_the_same_from_anywhere_before_it(line, change, seconds, part):
    zone, at = change
    moment = at + timedelta(seconds=seconds)
    every = rhythm(line, zone=zone)
    tick = every.after(moment)
    assert tick is not None
    assert tick > moment
    assert every.after(moment + (tick - moment) * part * 0.999) == tick
    assert every.upcoming(moment, 4) == sorted(set(every.upcoming(moment, 4)))


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 10**7), st.integers(-(10**9), 10**9), st.floats(0, 1))
def test_an_interval_keeps_to_its_anchor(every_s, seconds, part):
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    every = rhythm(every_s=every_s, anchor=anchor)
    moment = anchor + timedelta(seconds=seconds)
    tick = every.after(moment)
    assert tick is not None
    assert moment < tick <= moment + timedelta(seconds=every_s)
    assert (tick - anchor) % timedelta(seconds=every_s) == timedelta(0)
    assert every.after(moment + (tick - moment) * part * 0.999) in (tick, tick + timedelta(seconds=every_s))


def test_a_time_that_does_not_exist_fires_once_after_the_gap():
    day_before = BERLIN_FORWARD - timedelta(hours=12)
    assert walls("30 2 * * *", "Europe/Berlin", day_before, 2) == ["2026-03-29T03:00:00+02", "2026-03-30T02:30:00+02"]
    both = walls("0,30 2 * * *", "Europe/Berlin", day_before, 2)
    assert both == ["2026-03-29T03:00:00+02", "2026-03-30T02:00:00+02"]


def test_a_time_that_comes_twice_fires_the_first_time():
    day_before = BERLIN_BACK - timedelta(hours=12)
    assert walls("30 2 * * *", "Europe/Berlin", day_before, 2) == ["2026-10-25T02:30:00+02", "2026-10-26T02:30:00+01"]
    between = BERLIN_BACK + timedelta(minutes=10)
    assert walls("30 2 * * *", "Europe/Berlin", between, 1) == ["2026-10-26T02:30:00+01"]


def test_a_line_that_begins_with_a_star_goes_by_the_clock_on_the_wall():
    assert walls("*/30 2 * * *", "Europe/Berlin", BERLIN_FORWARD - timedelta(hours=2), 1) == ["2026-03-30T02:00:00+02"]
    twice = walls("*/30 2 * * *", "Europe/Berlin", BERLIN_BACK - timedelta(hours=2), 4)
    assert [wall[11:] for wall in twice] == ["02:00:00+02", "02:30:00+02", "02:00:00+01", "02:30:00+01"]
    hourly = rhythm("0 * * * *", zone="Europe/Berlin").upcoming(BERLIN_BACK - timedelta(hours=3), 6)
    assert {b - a for a, b in pairwise(hourly)} == {timedelta(hours=1)}


def test_days_and_weekdays_are_those_of_the_zone():
    # Monday in Auckland is Sunday in UTC.
    (tick,) = rhythm("0 1 * * MON", zone="Pacific/Auckland").upcoming(datetime(2026, 6, 1, tzinfo=UTC), 1)
    assert tick == datetime(2026, 6, 7, 13, tzinfo=UTC)


@pytest.mark.parametrize("cron", ["*/60 * * * *", "*/59 * * * *", "0 */24 * * *", "0 0 */31 * *", "0 0 1 */12 *"])
def test_the_largest_steps_that_mean_what_they_say_are_allowed(cron: str):
    rhythm(cron).check()


def test_a_day_that_is_rare_is_found():
    ticks = rhythm("0 0 29 2 *").upcoming(datetime(2026, 1, 1, tzinfo=UTC), 2)
    assert [tick.year for tick in ticks] == [2028, 2032]


@pytest.mark.parametrize(
    ("cron", "zone", "field", "words"),
    [
        ("* * * *", "UTC", "cron", "five fields"),
        ("* * * * * *", "UTC", "cron", "five fields"),
        ("", "UTC", "cron", "five fields"),
        ("60 * * * *", "UTC", "cron", "minute"),
        ("* 24 * * *", "UTC", "cron", "hour"),
        ("* * 0 * *", "UTC", "cron", "day"),
        ("* * * 13 *", "UTC", "cron", "month"),
        ("* * * * 8", "UTC", "cron", "weekday '8': 0 to 7"),
        ("*/61 * * * *", "UTC", "cron", r"minute '\*/61': the step is larger .* give every_s 3660"),
        ("1,5-9/90 * * * *", "UTC", "cron", "minute '5-9/90': the step is larger"),
        ("0 */25 * * *", "UTC", "cron", "hour .* 24 values; for that interval give every_s 90000"),
        ("0 0 */32 * *", "UTC", "cron", "day .* 31 values"),
        ("0 0 1 */13 *", "UTC", "cron", "month .* 12 values$"),
        ("0 0 * * */8", "UTC", "cron", "weekday .* 7 values$"),
        ("*/" + "9" * 5000 + " * * * *", "UTC", "cron", "60 values$"),
        ("0 0 31 2 *", "UTC", "cron", "no month of '2' has a day '31'"),
        ("0 0 31 FEB *", "UTC", "cron", "no month of 'FEB' has a day '31'"),
        ("0 0 32 2 *", "UTC", "cron", "day '32': 1 to 31"),
        ("x * * * *", "UTC", "cron", "minute"),
        ("5-1 * * * *", "UTC", "cron", "minute"),
        ("*/0 * * * *", "UTC", "cron", "minute"),
        ("²/2 * * * *", "UTC", "cron", "minute"),
        ("0 0 30 2 *", "UTC", "cron", "day"),
        ("0 0 31 4,6 *", "UTC", "cron", "day"),
        ("0 0 * * *", "Europe/Nowhere", "timezone", "IANA"),
        ("0 0 * * *", "Europe", "timezone", "IANA"),
        ("0 0 * * *", "localtime", "timezone", "IANA"),
        ("0 0 * * *", "../etc/passwd", "timezone", "IANA"),
        ("0 0 * * *", "a\0b", "timezone", "IANA"),
        ("0 0 * * *", "", "timezone", "IANA"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(cron: str, zone: str, field: str, words: str):
    with pytest.raises(InvalidInputError, match=words) as caught:
        rhythm(cron, zone=zone).check()
    assert [error.field for error in caught.value.errors] == [field]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789*/-,#LWSUNJAn ²", max_size=20) | st.text(max_size=20))
@example("L/2 * * * *")
@example("* * LW/2 * *")
@example("* * * * 5#2/2")
@example("* * * * L")
def test_no_text_whatsoever_breaks_the_reader(cron: str):
    with contextlib.suppress(InvalidInputError):
        rhythm(cron).check()


def test_the_last_tick_is_not_after_the_end():
    end = datetime(2026, 1, 1, 3, tzinfo=UTC)
    for every in (rhythm("0 * * * *", ends_at=end), rhythm(every_s=3600, ends_at=end)):
        assert [tick.hour for tick in every.upcoming(datetime(2026, 1, 1, tzinfo=UTC), 9)] == [1, 2, 3]
        assert every.after(end) is None
        assert every.at_or_after(end) == end


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["0 * * * *", "*/20 2 * * *", "30 2 * * *", None]), st.integers(0, 100), st.integers(1, 30))
def test_what_is_due_is_the_newest_of_all_that_was_missed(line, hours, most):
    every = rhythm(line, None if line else 1700.5, "Europe/Berlin")
    first = every.after(BERLIN_BACK - timedelta(hours=50))
    assert first is not None
    now = first + timedelta(hours=hours)
    expected = [first, *(tick for tick in every.upcoming(first, 500) if tick <= now)]
    ticks, missed = every.due(first, now, most)
    assert ticks == expected[-most:]
    assert missed == min(len(expected) - len(ticks), COUNTED)


def test_a_year_of_missed_minutes_is_counted_up_to_the_bound():
    now = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
    for every in (rhythm("* * * * *"), rhythm(every_s=60)):
        ticks, missed = every.due(datetime(2025, 6, 1, tzinfo=UTC), now, 100)
        assert ticks[-1] == datetime(2026, 6, 1, 12, tzinfo=UTC)
        assert (len(ticks), missed) == (100, COUNTED)
