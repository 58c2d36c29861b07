"""The table `metric_series`: what all processes have counted, as sums that the gateway shows."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import asyncpg
import orjson

from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics.catalogue import BY_NAME, MetricSpec
from seedcore.telemetry.metrics.label_bounds import LabelBounds, SeriesKey
from seedcore.telemetry.metrics.metric_registry import MetricDeltas

GAUGE_EVERY_S = 60.0
"""A gauge that does not change is written this often, so that it is known to live."""

GAUGE_LIVES_S = 300.0
"""A gauge that was not written for so long belongs to a process that has ended."""

MAX_READ = 20_000
"""Series that are read at most, the first ones that there were."""

# Several processes write the same series, so each takes its rows in the order of the key. It
# does not wait for the disk: after a crash of the server a second of counts may be missing. Primary key.
_ADD = """
with soon as materialized (select set_config('synchronous_commit', 'off', true))
insert into seedcore.metric_series as m (name, labels, value, buckets)
select n.name, n.labels::jsonb, n.value, n.buckets::bigint[]
from unnest($1::text[], $2::text[], $3::float8[], $4::text[]) as n(name, labels, value, buckets), soon
order by n.name, n.labels::jsonb
on conflict (name, labels) do update set
  value = case when m.name = any($5::text[]) then excluded.value else m.value + excluded.value end,
  buckets = case when cardinality(m.buckets) = cardinality(excluded.buckets) then array(
      select a + b from unnest(m.buckets, excluded.buckets) with ordinality as u(a, b, place) order by place)
    else excluded.buckets end,
  at = now()
"""

# A gauge of a process that has ended says nothing. The order is that in which the series came: it never changes, so
# what is folded into `other` never comes back out of it.
_READ = """
select name, labels::text as labels, value, buckets from seedcore.metric_series
where not (name = any($1::text[]) and at < now() - make_interval(secs => $2)) order by since, name, labels limit $3
"""

_FORGET = "delete from seedcore.metric_series where at < now() - make_interval(secs => $1)"

_GAUGES = [spec.name for spec in BY_NAME.values() if spec.kind == "gauge"]


class MetricSeries(NamedTuple):
    """One series: `value` is the sum of a histogram, whose `buckets` are counts, not cumulative."""

    spec: MetricSpec
    key: SeriesKey
    value: float
    buckets: list[int] | None


class MetricSeriesWriter:
    """Adds what a process has counted, by a pool that it has; a `MetricSink`.

    What cannot be written is added the next time: it is bounded, because series are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = MetricDeltas()
        self._gauges: dict[str, dict[SeriesKey, float]] = {}
        self._gauges_due = time.monotonic() + GAUGE_EVERY_S

    async def write(self, deltas: MetricDeltas, *, last: bool = False) -> None:
        """Add these counts, and those that are kept.

        Raises:
            UnavailableError: the database does not answer; they are kept.
        """
        self._kept.add(MetricDeltas(deltas.counts, self._changed(deltas.values), deltas.histograms))
        if not self._kept:
            return
        kept, self._kept = self._kept, MetricDeltas()
        try:
            async with self._database.connection(wait_s=2.0) as connection:
                await add(connection, kept)
        except BaseException:
            kept.add(self._kept)
            self._kept = kept
            raise

    def _changed(self, values: dict[str, dict[SeriesKey, float]]) -> dict[str, dict[SeriesKey, float]]:
        """The gauges that have another value than before; all of them once a minute."""
        changed: dict[str, dict[SeriesKey, float]] = {}
        for name, given in values.items():
            known = self._gauges.setdefault(name, {})
            if new := {key: value for key, value in given.items() if known.get(key) != value}:
                changed[name] = new
                known.update(new)
        if time.monotonic() >= self._gauges_due:
            self._gauges_due = time.monotonic() + GAUGE_EVERY_S
            return {name: dict(known) for name, known in self._gauges.items()}
        return changed


async def add(connection: asyncpg.Connection, deltas: MetricDeltas) -> None:
    """Add counts to their series, in one statement."""
    rows = list(_rows(deltas))
    await connection.execute(_ADD, *map(list, zip(*rows, strict=True)), _GAUGES)


async def read(connection: asyncpg.Connection, max_types: int) -> list[MetricSeries]:
    """Every series that the catalogue has, each label with `max_types` values at most: further ones are `other`."""
    rows = await connection.fetch(_READ, _GAUGES, GAUGE_LIVES_S, MAX_READ)
    return _folded(rows, LabelBounds(max_types))


async def forget(connection: asyncpg.Connection, kept_s: float) -> int:
    """Delete series that nothing was added to for so long; returns how many."""
    tag: str = await connection.execute(_FORGET, kept_s)
    return int(tag.rsplit(" ", 1)[-1])


def _rows(deltas: MetricDeltas) -> Iterator[tuple[str, str, float, str | None]]:
    for named in (deltas.counts, deltas.values):
        for name, values in named.items():
            for key, value in values.items():
                yield name, _labels(name, key), float(value), None
    for name, rows in deltas.histograms.items():
        for key, row in rows.items():
            yield name, _labels(name, key), float(row[-1]), f"{{{','.join(map(str, row[:-1]))}}}"


def _labels(name: str, key: SeriesKey) -> str:
    # PostgreSQL keeps no U+0000 in jsonb, and orjson refuses half of a surrogate pair.
    values = [value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode() for value in key]
    return orjson.dumps(dict(zip(BY_NAME[name].labels, values, strict=True))).decode()


def _folded(rows: Iterable[asyncpg.Record], bounds: LabelBounds) -> list[MetricSeries]:
    found: dict[tuple[str, SeriesKey], MetricSeries] = {}
    for name, labels, value, buckets in rows:
        spec = BY_NAME.get(name)
        given = orjson.loads(labels)
        # Another release may have other metrics, labels and bounds.
        wanted = None if spec is None or spec.kind != "histogram" else len(spec.bounds) + 1
        if spec is None or given.keys() != set(spec.labels) or (None if buckets is None else len(buckets)) != wanted:
            continue
        key = bounds.fold(spec, tuple([str(given[label]) for label in spec.labels]))
        before = found.get((name, key))
        if before is None:
            found[name, key] = MetricSeries(spec, key, value, buckets)
        elif spec.kind == "gauge":
            found[name, key] = before._replace(value=max(before.value, value))
        else:
            joined = None if buckets is None else [a + b for a, b in zip(before.buckets or (), buckets, strict=True)]
            found[name, key] = MetricSeries(spec, key, before.value + value, joined)
    return list(found.values())
