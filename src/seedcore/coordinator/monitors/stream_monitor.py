"""Monitors one aspect of a live stream: a valve, the observations to calibrate it on, its alarms, its open state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from seedcore.changepoint import MAX_ARL0, MIN_REFERENCE, Valve

REFERENCE = 1_000
"""Observations that a valve is calibrated on by itself."""

RECENT = 2_000
CALM = 200
"""Observations without an alarm after which an open valve closes."""

State = Literal["learning", "closed", "open"]

_STORED = {"observed", "alarms", "calm", "alarmed_at", "opened_at", "adopted", "evidence"}


class StoredMonitor(NamedTuple):
    """A monitor as it is stored: the valve's state, the recent observations as a NumPy file, counts."""

    state: bytes | None
    recent: bytes
    facts: dict[str, float | None]


@dataclass(slots=True)
class StreamMonitor:
    """Monitors a stream's work (features of tasks) or its outcomes.

    Attributes:
        columns: number of features.
        recent: the newest observations, shape (RECENT, d) at most, the newest last.
        observed: observations in total.
        alarms: alarms in total.
        calm: observations since the last alarm; None: there was none.
        alarmed_at: observation of the last alarm.
        opened_at: observation of the alarm that opened the valve; None while it is not open.
        adopted: how often a lasting change was adopted as the new normal without a request.
        evidence: the highest of the last batch, in [0, 1).
        changed: whether there is something to store.
    """

    columns: int
    valve: Valve | None = None
    recent: npt.NDArray[np.float32] = field(init=False)
    observed: int = 0
    alarms: int = 0
    calm: int | None = None
    alarmed_at: int | None = None
    opened_at: int | None = None
    adopted: int = 0
    evidence: float | None = None
    changed: bool = False

    def __post_init__(self) -> None:
        self.recent = np.zeros((0, self.columns), dtype=np.float32)

    @property
    def state(self) -> State:
        """Learning, closed, or open since an alarm that CALM observations have not followed."""
        if self.valve is None:
            return "learning"
        return "open" if self.calm is not None and self.calm < CALM else "closed"

    @property
    def due(self) -> bool:
        """Whether it has enough observations for its first calibration."""
        return self.valve is None and len(self.recent) >= REFERENCE

    def observe(self, rows: npt.NDArray[np.float32]) -> None:
        """Process the next observations, shape (m, d)."""
        if not len(rows):
            return
        self.changed = True
        self.recent = np.concatenate([self.recent, rows])[-RECENT:]
        if self.valve is not None:
            evidence = self.valve.follow(rows.astype(np.float64))
            self.evidence = float(evidence.max())
            alarms = np.flatnonzero(evidence >= 0.5)
            if len(alarms):
                first, last = int(alarms[0]), int(alarms[-1])
                self.alarms += len(alarms)
                if self.opened_at is None:
                    self.opened_at = self.observed + first + 1
                self.alarmed_at, self.calm = self.observed + last + 1, len(rows) - 1 - last
            elif self.calm is not None:
                self.calm = min(self.calm + len(rows), CALM)
            if self.state == "closed":
                self.opened_at = None
        self.observed += len(rows)

    def set_valve(self, valve: Valve) -> None:
        """Use a newly calibrated valve; the reason of earlier alarms counts as normal."""
        self.valve, self.calm, self.evidence, self.changed = valve, None, 0.0, True
        self.opened_at = None

    @property
    def lasting(self) -> bool:
        """Whether the valve has been open for long enough to calibrate on the observations since."""
        return self.opened_at is not None and self.observed - self.opened_at >= REFERENCE

    def since_opened(self) -> npt.NDArray[np.float64]:
        """The observations since the valve opened; enough to calibrate on when `lasting`."""
        assert self.opened_at is not None
        return self.recent[-min(self.observed - self.opened_at, RECENT) :].astype(np.float64)

    def reference(self) -> npt.NDArray[np.float64]:
        """The observations to calibrate on."""
        return self.recent.astype(np.float64)

    @property
    def learnable(self) -> bool:
        """Whether there are enough observations for a requested calibration."""
        return len(self.recent) >= MIN_REFERENCE

    def report(self) -> dict[str, object]:
        """The monitor as JSON."""
        report: dict[str, object] = {"state": self.state, "observed": self.observed, "alarms": self.alarms}
        if self.valve is None:
            return report | {"learned": len(self.recent), "needed": REFERENCE}
        report |= {"evidence": self.evidence, "leading": self.valve.leading, "last_alarm": self.alarmed_at}
        report |= {"opened_at": self.opened_at, "adopted": self.adopted}
        return report | calibration_report(self.valve) | {"reference": self.valve.calibration.reference}

    def to_stored(self) -> StoredMonitor:
        """The monitor as it is stored."""
        buffer = BytesIO()
        np.save(buffer, self.recent, allow_pickle=False)
        state = None if self.valve is None else self.valve.to_bytes()
        return StoredMonitor(state, buffer.getvalue(), {name: getattr(self, name) for name in _STORED})

    @classmethod
    def from_stored(
        cls, columns: int, state: bytes | None, recent: bytes, facts: Mapping[str, float | None]
    ) -> "StreamMonitor":
        """The monitor that was stored. One of a release with other features starts from nothing.

        Raises:
            InvalidInputError, ValueError: the bytes cannot be read.
        """
        rows = np.load(BytesIO(recent), allow_pickle=False)
        monitor = cls(columns)
        if rows.ndim != 2 or rows.shape[1] != columns:
            return monitor
        monitor.recent = rows
        monitor.valve = None if state is None else Valve.from_bytes(state)
        for name in _STORED & facts.keys():
            setattr(monitor, name, facts[name])
        return monitor


def calibration_report(valve: Valve) -> dict[str, object]:
    """The promised ARL₀, and the one seen in the simulation."""
    calibration, simulation = valve.calibration, valve.calibration.rehearsal
    if simulation is None:
        return {"arl0": calibration.arl0}
    return {
        "arl0": calibration.arl0,
        "arl0_achieved": simulation.arl0,
        "rehearsal": {"observations": simulation.observations, "alarms": simulation.alarms},
        "raised": simulation.raised,
    }


def monitor_arl0(stream_arl0: float) -> float:
    """ARL₀ of each of a stream's two monitors, so that both together alarm every `stream_arl0` tasks."""
    return min(2.0 * stream_arl0, MAX_ARL0)
