"""Forecasts arriving tasks, and the hosts that they call for."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil

from seedcore.errors import InvalidInputError, TooLittleHistoryError
from seedcore.ml.parts import MLParts
from seedcore.ml.scaling.arrivals import ArrivalCounter, ArrivalSeries, floored
from seedcore.ml.scaling.forecast import MAX_STEPS, MIN_STEPS, Forecast, forecast
from seedcore.ml.scaling.host_needs import host_needs
from seedcore.schemas.ml.scaling import MAX_POINTS, SLOT_S, ForecastPoint, HostNeed, ScalingRequest, ScalingResponse
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.stores.leading.leader_loop import LeaderJob
from seedcore.tasks.monitoring import arrival_reads
from seedcore.web.service_base import Operation

LATELY_S = 86_400.0
"""Types and their seconds are those of so many seconds."""

MAX_TYPES, MAX_ENDS = 100, 20_000
ORGANISM_S = 3.0
"""The organism is waited for so long."""


class ScalingOperations:
    """Counts arrivals in the background, and forecasts them."""

    def __init__(self, parts: MLParts) -> None:
        self._settings, self._database = parts.settings, parts.database
        self._counter = ArrivalCounter(parts.database, parts.settings.arrivals_kept_s)
        self._organism = OrganismClient(parts.settings, timeout_s=ORGANISM_S)
        # A forecast takes up to a second of processor time: one after the other.
        self._one = asyncio.Semaphore(1)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        summary = "Forecast arriving tasks, and the hosts for them"
        return (Operation("POST", "/predict/scaling", self.predict, ScalingRequest, summary=summary),)

    def jobs(self) -> Sequence[LeaderJob]:
        """What the leader does for this part."""
        return (LeaderJob("arrivals", float(SLOT_S), self._count),)

    async def stop(self) -> None:
        """Close connections."""
        await self._organism.aclose()

    async def predict(self, request: ScalingRequest) -> ScalingResponse:
        """Arrivals of a queue or type in the steps to come, from their recorded history.

        Raises:
            InvalidInputError: more steps than MAX_POINTS.
            TooLittleHistoryError: not one whole slot is recorded yet.
        """
        if request.horizon_s > MAX_POINTS * request.step_s:
            message = f"must be at most {MAX_POINTS} steps of step_s: {MAX_POINTS * request.step_s} s"
            raise InvalidInputError.for_field("horizon_s", message)
        series, found = await self._forecast(request)
        points = _points(series, found, request)
        arriving = await self._counter.types(request.queue, request.type, LATELY_S, MAX_TYPES)
        seconds = await self._seconds(arriving)
        hosts: list[HostNeed] = []
        notes: list[str] = []
        if request.hosts:
            bound = max(point.high for point in points)
            slots = self._settings.host_concurrency
            hosts, notes = await host_needs(self._organism, arriving, seconds, bound, slots)
        if found.source == "too_little_history":
            notes.append("the interval is not calibrated: too few steps with tasks are recorded")
        return ScalingResponse(
            forecast=points,
            hosts=hosts,
            source=found.source,
            level=request.level,
            coverage=found.coverage,
            coverage_of=found.tried,
            calibrated_s=float(found.calibrated * series.step_s),
            seasons_s=list(found.seasons_s),
            history_s=float(found.steps * series.step_s),
            step_s=request.step_s,
            seconds_per_task=seconds,
            notes=notes,
        )

    async def _forecast(self, request: ScalingRequest) -> tuple[ArrivalSeries, Forecast]:
        """The record by steps; where it has too few of them, by slots, and with those that may still change."""
        series = await self._counter.series(request.queue, request.type, request.step_s, MAX_STEPS)
        if series is None or len(series.counts) < MIN_STEPS:
            await self._counter.count()
            series = await self._counter.series(request.queue, request.type, SLOT_S, MIN_STEPS - 1, final=False)
        if series is None:
            message = f"Not one whole slot of {SLOT_S} s of arrivals is recorded yet; ask again later."
            raise TooLittleHistoryError(message, retry_after_s=SLOT_S)
        gap_s = (datetime.now(UTC) - series.end).total_seconds()
        steps = max(1, ceil((gap_s + request.horizon_s) / series.step_s))
        async with self._one:
            found = await asyncio.to_thread(forecast, series.counts, steps, request.level, float(series.step_s))
        return series, found

    async def _seconds(self, arriving: Mapping[str, int]) -> dict[str, float]:
        if not arriving:
            return {}
        async with self._database.connection() as connection:
            found = await arrival_reads.seconds_of_types(connection, LATELY_S, MAX_ENDS)
        return {item.type: item.mean_s for item in found if item.type in arriving}

    async def _count(self) -> None:
        await self._counter.count()


def _points(series: ArrivalSeries, found: Forecast, request: ScalingRequest) -> list[ForecastPoint]:
    """The steps that have not ended yet, as rates. A forecast from slots is the same in all steps."""
    now = datetime.now(UTC)
    begin, points = floored(series.end, request.step_s), []
    for k in range(ceil((now - begin).total_seconds() / request.step_s) + ceil(request.horizon_s / request.step_s)):
        at = begin + timedelta(seconds=k * request.step_s)
        if at + timedelta(seconds=request.step_s) > now and at < now + timedelta(seconds=request.horizon_s):
            of = min(k, len(found.mean) - 1)
            mean, low, high = (float(values[of]) / series.step_s for values in (found.mean, found.low, found.high))
            points.append(ForecastPoint(at=at, per_s=mean, low=low, high=high))
    return points
