"""Reads forecasts of the ML service for organs that may have more hosts, beside the control loop.

The control loop never waits for it: it takes what was read last, for at most VALID_S. Without a forecast it scales by
measured load alone, and health says so.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Protocol

from seedcore.errors import SeedCoreError
from seedcore.organism.control.organism_view import OrganismView
from seedcore.schemas.ml.scaling import ScalingResponse
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

INTERVAL_S = 30.0
VALID_S = 120.0
LIMIT_S = 10.0
"""A round may take so long; what it has not read by then is read by the next."""

STEP_S = 300
"""Seconds of the forecasts' steps: short ones know only the last days, and no week."""

MAX_TYPES = 50


class Forecaster(Protocol):
    """The ML service's client."""

    async def predict_scaling(self, request: Mapping[str, object], /) -> ScalingResponse:
        """Forecast arriving tasks."""


class Foresight:
    """The load that is foreseen for each organ.

    Args:
        forecaster: who forecasts.
        view: desired organs, and the skills that run in each.
        ahead_s: how far ahead.
        leads: whether this replica scales organs.
    """

    def __init__(self, forecaster: Forecaster, view: OrganismView, ahead_s: float, leads: Callable[[], bool]) -> None:
        self._forecaster, self._view, self._ahead_s, self._leads = forecaster, view, ahead_s, leads
        self._loads: dict[str, tuple[float, float]] = {}
        self._failed: str | None = None
        self._reading: asyncio.Task[None] | None = None
        self._log = get_logger("seedcore.organism.foresight")

    def load(self, organ: str) -> float:
        """Tasks in hand that are expected at most within the time ahead; 0 where there is no valid forecast."""
        load, at = self._loads.get(organ, (0.0, 0.0))
        return load if time.monotonic() - at < VALID_S else 0.0

    def health(self) -> dict[str, object]:
        """How far ahead, what is foreseen, and why there is no forecast."""
        foreseen = {organ: round(self.load(organ), 2) for organ in self._loads}
        return {"ahead_s": self._ahead_s, "foreseen": foreseen, "fallback": self._failed}

    def start(self) -> None:
        """Begin to read forecasts, unless the time ahead is 0."""
        if self._ahead_s > 0:
            self._reading = asyncio.create_task(self._read_forever(), name="foresight")

    async def stop(self) -> None:
        """End reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read_forever(self) -> None:
        while True:
            if self._leads():
                await self.read()
            await asyncio.sleep(INTERVAL_S)

    async def read(self) -> None:
        """Read the forecasts once; a failure is a fallback to measured load."""
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._read_all()
        except Exception as error:  # noqa: BLE001 - whatever fails, the next round tries again
            reason = _reason(error)
            if self._failed is None:
                self._log.warning("no forecast, scaling by measured load", reason=reason)
            self._failed = f"measured load alone: the ML service's forecast failed: {reason}"
            counter("seedcore_fallbacks_total").add(1, fallback="no_forecast")
        else:
            self._failed = None

    async def _read_all(self) -> None:
        homes, scalable = self._view.skill_organs(), self._scalable()
        for organ in scalable:
            load = 0.0
            for name in sorted(name for name, home in homes.items() if home == organ)[:MAX_TYPES]:
                load += await self._expected(name)
            self._loads[organ] = load, time.monotonic()
        self._loads = {organ: found for organ, found in self._loads.items() if organ in scalable}

    def _scalable(self) -> list[str]:
        organs = {} if self._view.stopped else self._view.organs
        return [n for n, o in organs.items() if o.spec.own_hosts and o.spec.max_hosts > o.spec.min_hosts]

    async def _expected(self, name: str) -> float:
        """Tasks in hand of a type: its highest bound within the time ahead, times how long one takes."""
        horizon = STEP_S * ceil(self._ahead_s / STEP_S)
        request = {"type": name, "horizon_s": horizon, "step_s": STEP_S, "hosts": False}
        try:
            found = await self._forecaster.predict_scaling(request)
        except SeedCoreError as error:
            if error.code == "too_little_history":
                return 0.0
            raise
        seconds = found.seconds_per_task.get(name)
        # An interval that is not calibrated is wide: it would start hosts for nothing.
        if seconds is None or found.source == "too_little_history":
            return 0.0
        until = datetime.now(UTC) + timedelta(seconds=self._ahead_s)
        return seconds * max((point.high for point in found.forecast if point.at <= until), default=0.0)


def _reason(error: Exception) -> str:
    if isinstance(error, SeedCoreError):
        return error.detail
    return f"took longer than {LIMIT_S:g} s" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
