"""What reports cost the valve: rows come from each worker every half second, at most `SAMPLE` of a stream.

How many tasks later an alarm comes than if every task were watched at once, and whether the false-alarm budget holds
whoever sends. Tasks arrive at random and are claimed by any worker; each worker reports at times of its own what it
claimed since. Rows go the product's way: `StreamSamples` of each worker, and the Coordinator's `StreamMonitors`, which
merge them by their places in the stream; without places, they are watched as they come.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from statistics import median
from uuid import UUID

import numpy as np
import orjson

from benchmarks.valve.real import AFTER, BEFORE, messages
from seedcore.changepoint import Valve
from seedcore.changepoint.features import TASK_COLUMNS
from seedcore.coordinator.monitors.row_feeder import FEED_S
from seedcore.coordinator.monitors.stream_monitor import REFERENCE, StreamMonitor
from seedcore.coordinator.monitors.stream_monitors import MonitoredStream, StreamMonitors
from seedcore.schemas.stream_rows import StreamRows
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.stream_samples import SAMPLE, StreamSamples

TYPE = "log.read"
STREAMS = ("text", "number, AR(1) 0.5")
EVERY_S = 0.5
WORKERS = (1, 2, 4)
AS_THEY_COME = (2, 4)
"""Workers whose rows are also watched without places."""

RATES = (100, 5_000)
WARM = 200
POOL = 4_000

Rows = np.ndarray
Pool = Sequence[Lease]
Stream = Callable[[np.random.Generator, int], np.ndarray]
"""Which tasks of a pool come, one after the other."""


def delays(runs: int, arl0: float) -> list[list[str]]:
    """A row for each shift, rate and number of workers: tasks until the alarm, and how many later it comes."""
    before, rows = _texts(BEFORE, 0), []
    for name, share in {"other words": 1.0, "other words in every third": 1 / 3}.items():
        after = _mixed(share)
        for rate in RATES:
            for workers in WORKERS:
                found = [_delay(before, after, rate, workers, arl0, run) for run in range(runs)]
                seen = [pair for pair in found if pair is not None]
                rows.append([f"{name}, {rate:,}/s, {workers} workers", *_told(seen, rate), f"{len(seen)} of {runs}"])
    return rows


def _told(seen: list[tuple[int, int]], rate: float) -> list[str]:
    if not seen:
        return [""] * 5
    later = [reported - at_once for at_once, reported in seen]
    return [
        f"{median(at_once for at_once, _ in seen):,.0f}",
        f"{median(reported for _, reported in seen):,.0f}",
        f"{median(later):,.0f} ({median(later) / rate:.2f} s)",
        f"{max(later):,} ({max(later) / rate:.2f} s)",
        f"{rate * EVERY_S:,.0f}",
    ]


def _delay(
    before: Pool, after: Pool, rate: float, workers: int, arl0: float, seed: int, places: bool = True
) -> tuple[int, int] | None:
    """Tasks from the shift to the alarm, watched at once and by reports; None: an alarm came before, or none came."""
    rng = np.random.default_rng([seed, int(rate), workers])
    reference = _rows([before[n] for n in rng.integers(len(before), size=REFERENCE)])
    valve = Valve.calibrate(reference, arl0=arl0, seed=seed, rehearsal=False)
    shift = int(rate * EVERY_S * rng.uniform(2, 3))
    come = [before[n] for n in rng.integers(len(before), size=shift)]
    come += [after[n] for n in rng.integers(len(after), size=max(600, int(6 * EVERY_S * rate)))]
    warm = _rows([before[n] for n in rng.integers(len(before), size=WARM)])
    at_once = _at_once(_monitor(valve, warm), come, shift)
    watched = Watched(_monitor(valve, warm), places)
    reported = _by_reports(watched, come, shift, rate, workers, rng)
    return None if at_once is None or reported is None else (at_once, reported)


def _monitor(valve: Valve, warm: Rows) -> StreamMonitor:
    """A monitor with a valve of its own, which has seen a while of the unchanged stream."""
    monitor = StreamMonitor(TASK_COLUMNS)
    monitor.set_valve(Valve.from_bytes(valve.to_bytes()))
    monitor.observe(warm)
    return monitor


def _at_once(monitor: StreamMonitor, come: Pool, shift: int) -> int | None:
    monitor.observe(_rows(come[max(0, shift - WARM) : shift]))
    if monitor.alarms:
        return None
    for count, task in enumerate(come[shift:], 1):
        monitor.observe(_rows([task]))
        if monitor.alarms:
            return count
    return None


def _by_reports(
    watched: "Watched", come: Pool, shift: int, rate: float, workers: int, rng: np.random.Generator
) -> int | None:
    times = np.cumsum(rng.exponential(1 / rate, len(come)))
    for at, worker, claimed in reports(times, workers, rng):
        watched.report(at, worker, [replace(come[n], seq=n) for n in claimed])
        if watched.monitor.alarms:
            count = int(times.searchsorted(watched.alarmed_s)) - shift
            return count if count > 0 else None
    return None


def reports(times: np.ndarray, workers: int, rng: np.random.Generator) -> Iterator[tuple[float, int, list[int]]]:
    """When a report is made, by which worker, and which tasks, by index, it claimed since its last one; by time."""
    claims = rng.integers(workers, size=len(times))
    made: list[tuple[float, int, list[int]]] = []
    for worker in range(workers):
        own = np.flatnonzero(claims == worker)
        phase = rng.uniform(0, EVERY_S)
        number = np.floor((times[own] - phase) / EVERY_S).astype(int) + 1
        cuts = np.flatnonzero(np.diff(number)) + 1
        for part in np.split(own, cuts):
            if len(part):
                sent = phase + EVERY_S * (np.floor((times[part[0]] - phase) / EVERY_S) + 1)
                made.append((float(sent), worker, part.tolist()))
    yield from sorted(made)


@dataclass
class Watched:
    """A monitor behind the product's way of rows: samples of each worker, merged; `alarmed_s`: of the first alarm."""

    monitor: StreamMonitor
    places: bool = True
    alarmed_s: float = 0.0
    _now: float = 0.0
    _streams: StreamMonitors = field(init=False)

    def __post_init__(self) -> None:
        self._streams = StreamMonitors(clock=lambda: self._now)
        self._streams.restore([MonitoredStream(TYPE, self.monitor)])

    def report(self, at: float, worker: int, tasks: Pool) -> None:
        """A worker reports what it claimed; until then the Coordinator looks at what waits every FEED_S."""
        while self._now + FEED_S < at:
            self._now += FEED_S
            self._streams.feed()
            self._note_alarm()
        self._now = at
        found = _report(tasks)
        if not self.places:
            del found["order"]
        self._streams.observe([found], f"worker-{worker}")
        self._note_alarm()

    def _note_alarm(self) -> None:
        if self.monitor.alarms and not self.alarmed_s:
            self.alarmed_s = self._now


def _report(tasks: Pool) -> StreamRows:
    """What a report has of tasks of one stream."""
    samples = StreamSamples()
    for task in tasks:
        task.reported_to_valves = False
        samples.add_task(task)
    (found,) = samples.take()
    return found


def _rows(tasks: Pool) -> Rows:
    """The rows of every task."""
    parts = [_report(tasks[start : start + SAMPLE])["tasks"] for start in range(0, len(tasks), SAMPLE)]
    return np.concatenate([np.array(part, dtype=np.float32) for part in parts])


def false_alarms(
    references: int,
    arl0: float,
    observations: int = 10_000,
    names: Sequence[str] = STREAMS,
    rates: Sequence[float] = RATES,
) -> list[list[str]]:
    """A row for each stream and rate: observations by alarm, watched at once, by reports, and as they come."""
    rows = []
    ways = [(0, True), *((workers, True) for workers in WORKERS), *((workers, False) for workers in AS_THEY_COME)]
    with ProcessPoolExecutor() as processes:
        for name in names:
            for rate in rates:
                cells = [f"{name}, {rate:,}/s"]
                for workers, places in ways:
                    count = partial(_alarms, name, rate, workers, arl0, observations, places=places)
                    alarms, observed = np.array(list(processes.map(count, range(references)))).T
                    total = int(alarms.sum())
                    error = float(alarms.std() / np.sqrt(references) / max(alarms.mean(), 1e-9))
                    more = "" if total else "more than "
                    cells.append(f"{more}{observed.sum() / max(total, 1):,.0f} ± {100 * error:.0f} %")
                rows.append(cells)
    return rows


def _alarms(
    name: str, rate: float, workers: int, arl0: float, observations: int, seed: int, places: bool = True
) -> tuple[int, int]:
    """Alarms in about so many observations of an unchanged stream, its reference gathered in the same way; 0: at once.

    Also how many observations it were.
    """
    rng = np.random.default_rng([seed, int(rate), workers])
    pool, stream = _streams()[name]
    # Of more than SAMPLE tasks a report has at least half as many rows; two seconds more than enough.
    per_second = rate if workers == 0 else min(rate, workers * SAMPLE / 2 / EVERY_S)
    tasks = stream(rng, int(rate * ((REFERENCE + observations) / per_second + 2)))
    times = np.cumsum(rng.exponential(1 / rate, len(tasks)))
    watched = Watched(StreamMonitor(TASK_COLUMNS), places)
    monitor, learned = watched.monitor, 0
    for at, worker, claimed in _at_times(times, SAMPLE) if workers == 0 else reports(times, workers, rng):
        watched.report(at, worker, [replace(pool[tasks[n]], seq=n) for n in claimed])
        if monitor.due:
            reference = monitor.reference()[-REFERENCE:]
            monitor.set_valve(Valve.calibrate(reference, arl0=arl0, seed=seed, rehearsal=False))
            learned = monitor.observed
        if monitor.valve is not None and monitor.observed >= learned + observations:
            break
    return monitor.alarms, monitor.observed - learned


def _at_times(times: np.ndarray, size: int) -> Iterator[tuple[float, int, list[int]]]:
    """Every task, by one worker, in reports of equal size."""
    for start in range(0, len(times), size):
        part = list(range(start, min(start + size, len(times))))
        yield float(times[part[-1]]), 0, part


@cache
def _streams() -> dict[str, tuple[Pool, Stream]]:
    """Streams by name: texts that are independent, and a number that follows the one before."""
    grid = np.arange(-500, 501)

    def follows(rng: np.random.Generator, count: int) -> np.ndarray:
        steps = rng.standard_normal(count) * np.sqrt(1 - 0.5**2)
        value, found = 0.0, np.empty(count, dtype=np.int64)
        for n, step in enumerate(steps.tolist()):
            value = 0.5 * value + step
            found[n] = round(100 * value)
        return np.clip(found, -500, 500) + 500

    independent, dependent = STREAMS
    return {
        independent: (_texts(BEFORE, 1), lambda rng, count: rng.integers(POOL, size=count)),
        dependent: ([_lease({"level": 10 + n / 100}) for n in grid.tolist()], follows),
    }


def _texts(words: tuple[str, ...], seed: int, count: int = POOL) -> list[Lease]:
    return [_lease({"message": text}) for text in messages(np.random.default_rng(seed), words, count)]


def _mixed(share: float) -> list[Lease]:
    changed = _texts(AFTER, 2)
    return [*changed, *_texts(BEFORE, 3, round(POOL / share) - POOL)]


def _lease(params: dict[str, object]) -> Lease:
    return Lease(
        id=UUID(int=0),
        token=1,
        attempt=1,
        type=TYPE,
        params=orjson.dumps(params).decode(),
        bindings=None,
        queue="default",
        slow=False,
        domain=None,
        priority=0,
        max_attempts=3,
        timeout_s=None,
        limit_key=None,
        idempotency_key=None,
        parent_id=None,
        approved=False,
        created_at=datetime.now(UTC),
        seq=0,
    )
