"""What reports cost the valve: rows come from each worker every half second, at most 50 of a stream, as they come.

How many tasks later an alarm comes than if every task were watched at once, and whether the false-alarm budget holds
whoever sends. Tasks arrive at random and are claimed by any worker; each worker reports at times of its own what it
claimed since. Rows are the product's: `sample_streams`, observed by a `StreamMonitor`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from statistics import median
from uuid import UUID

import numpy as np
import orjson

from benchmarks.valve.real import AFTER, BEFORE, messages
from seedcore.changepoint import Valve
from seedcore.changepoint.features import TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitor import REFERENCE, StreamMonitor
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.stream_samples import SAMPLE, sample_streams

TYPE = "log.read"
EVERY_S = 0.5
WORKERS = (1, 2, 4)
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


def _delay(before: Pool, after: Pool, rate: float, workers: int, arl0: float, seed: int) -> tuple[int, int] | None:
    """Tasks from the shift to the alarm, watched at once and by reports; None: an alarm came before, or none came."""
    rng = np.random.default_rng([seed, int(rate), workers])
    reference = _rows([before[n] for n in rng.integers(len(before), size=REFERENCE)])
    valve = Valve.calibrate(reference, arl0=arl0, seed=seed, rehearsal=False)
    shift = int(rate * EVERY_S * rng.uniform(1, 2))
    come = [before[n] for n in rng.integers(len(before), size=shift)]
    come += [after[n] for n in rng.integers(len(after), size=max(600, int(6 * EVERY_S * rate)))]
    warm = _rows([before[n] for n in rng.integers(len(before), size=WARM)])
    at_once = _at_once(_monitor(valve, warm), come, shift)
    reported = _by_reports(_monitor(valve, warm), come, shift, rate, workers, rng)
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
    monitor: StreamMonitor, come: Pool, shift: int, rate: float, workers: int, rng: np.random.Generator
) -> int | None:
    times = np.cumsum(rng.exponential(1 / rate, len(come)))
    for at, claimed in reports(times, workers, rng):
        monitor.observe(_report([come[n] for n in claimed]))
        if monitor.alarms:
            count = int(times.searchsorted(at)) - shift
            return count if count > 0 else None
    return None


def reports(times: np.ndarray, workers: int, rng: np.random.Generator) -> Iterator[tuple[float, list[int]]]:
    """When a report is made, and which tasks, by index, its worker claimed since its last one; in order of time."""
    claims = rng.integers(workers, size=len(times))
    made: list[tuple[float, list[int]]] = []
    for worker in range(workers):
        own = np.flatnonzero(claims == worker)
        phase = rng.uniform(0, EVERY_S)
        number = np.floor((times[own] - phase) / EVERY_S).astype(int) + 1
        cuts = np.flatnonzero(np.diff(number)) + 1
        for part in np.split(own, cuts):
            if len(part):
                sent = phase + EVERY_S * (np.floor((times[part[0]] - phase) / EVERY_S) + 1)
                made.append((float(sent), part.tolist()))
    yield from sorted(made)


def _report(tasks: Pool) -> Rows:
    """The rows that a report has of tasks of one stream."""
    (found,) = sample_streams(tasks, {})
    return np.array(found["tasks"], dtype=np.float32)


def _rows(tasks: Pool) -> Rows:
    """The rows of every task."""
    return np.concatenate([_report(tasks[start : start + SAMPLE]) for start in range(0, len(tasks), SAMPLE)])


def false_alarms(references: int, arl0: float, observations: int = 10_000) -> list[list[str]]:
    """A row for each stream and rate: observations by alarm, watched at once and in reports of 1, 2 and 4 workers."""
    rows = []
    with ProcessPoolExecutor() as processes:
        for name in _streams():
            for rate in RATES:
                cells = [f"{name}, {rate:,}/s"]
                for workers in (0, *WORKERS):
                    count = partial(_alarms, name, rate, workers, arl0, observations)
                    alarms = np.array(list(processes.map(count, range(references))))
                    total = int(alarms.sum())
                    error = float(alarms.std() / np.sqrt(references) / max(alarms.mean(), 1e-9))
                    more = "" if total else "more than "
                    cells.append(f"{more}{references * observations / max(total, 1):,.0f} ± {100 * error:.0f} %")
                rows.append(cells)
    return rows


def _alarms(name: str, rate: float, workers: int, arl0: float, observations: int, seed: int) -> int:
    """Alarms in so many observations of an unchanged stream, its reference gathered in the same way; 0: at once."""
    rng = np.random.default_rng([seed, int(rate), workers])
    pool, stream = _streams()[name]
    rows = _observed(pool, stream, rate, workers, REFERENCE + observations, rng)
    monitor = StreamMonitor(TASK_COLUMNS)
    monitor.set_valve(Valve.calibrate(rows[:REFERENCE], arl0=arl0, seed=seed, rehearsal=False))
    for start in range(REFERENCE, len(rows), SAMPLE):
        monitor.observe(rows[start : start + SAMPLE])
    return monitor.alarms


def _observed(pool: Pool, stream: Stream, rate: float, workers: int, count: int, rng: np.random.Generator) -> Rows:
    """The first `count` rows that the valve gets to see."""
    if workers == 0:
        return _rows([pool[n] for n in stream(rng, count)])
    # Of more than 50 tasks a report has 50 rows; two seconds more than enough.
    per_second = min(rate, workers * SAMPLE / EVERY_S)
    tasks = stream(rng, int(rate * (count / per_second + 2)))
    times = np.cumsum(rng.exponential(1 / rate, len(tasks)))
    rows: list[Rows] = []
    seen = 0
    for _, claimed in reports(times, workers, rng):
        rows.append(_report([pool[tasks[n]] for n in claimed]))
        seen += len(rows[-1])
        if seen >= count:
            break
    return np.concatenate(rows)[:count]


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

    return {
        "text": (_texts(BEFORE, 1), lambda rng, count: rng.integers(POOL, size=count)),
        "number, AR(1) 0.5": ([_lease({"level": 10 + n / 100}) for n in grid.tolist()], follows),
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
