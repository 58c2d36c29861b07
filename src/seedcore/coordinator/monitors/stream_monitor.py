"""One valve of a live stream with what belongs to it: the observations to learn from, what it saw, open or closed."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seedcore.changepoint import MAX_ARL0, MIN_REFERENCE, Valve

REFERENCE = 1_000
"""Observations that a stream learns from before it is watched."""

RECENT = 2_000
CALM = 200
"""Observations without an alarm after which an open valve closes."""

State = Literal["learning", "closed", "open"]

_STORED = {"observed", "alarms", "calm", "alarmed_at", "opened_at", "adopted", "evidence"}


@dataclass(slots=True)
class Watch:
    """What is watched of a stream: its work (features of tasks) or its outcomes.

    Attributes:
        recent: the newest observations, shape (RECENT, d) at most, the newest last.
        observed: observations in all.
        alarms: alarms in all.
        calm: observations since the last alarm; None: there was none.
        alarmed_at: observation of the last alarm.
        opened_at: observation of the alarm that opened it; None while it is not open.
        adopted: how often a lasting change was learned as the new normal without being asked.
        evidence: the highest of the last batch, in [0, 1).
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
        """Learning, closed, or open since an alarm that CALM observations have not passed."""
        if self.valve is None:
            return "learning"
        return "open" if self.calm is not None and self.calm < CALM else "closed"

    @property
    def due(self) -> bool:
        """Whether there is enough to calibrate on, and nobody has."""
        return self.valve is None and len(self.recent) >= REFERENCE

    def observe(self, rows: npt.NDArray[np.float32]) -> None:
        """Take in the next observations, shape (m, d)."""
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

    def calibrated(self, valve: Valve) -> None:
        """From now on `valve` watches; what was alarmed about counts as normal."""
        self.valve, self.calm, self.evidence, self.changed = valve, None, 0.0, True
        self.opened_at = None

    @property
    def lasting(self) -> bool:
        """Whether the valve has been open for so long that what came since is enough to learn from."""
        return self.opened_at is not None and self.observed - self.opened_at >= REFERENCE

    def learn_change(self) -> npt.NDArray[np.float64]:
        """The observations since it opened; `lasting` says that they are enough."""
        assert self.opened_at is not None
        return self.recent[-min(self.observed - self.opened_at, RECENT) :].astype(np.float64)

    def learn_from(self) -> npt.NDArray[np.float64]:
        """The observations to calibrate on, the newest REFERENCE at least."""
        return self.recent.astype(np.float64)

    @property
    def learnable(self) -> bool:
        """Whether there are enough observations for a calibration that somebody asks for."""
        return len(self.recent) >= MIN_REFERENCE

    def report(self) -> dict[str, Any]:
        """What is to be known about it."""
        told: dict[str, Any] = {"state": self.state, "observed": self.observed, "alarms": self.alarms}
        if self.valve is None:
            return told | {"learned": len(self.recent), "needed": REFERENCE}
        facts = self.valve.calibration
        told |= {"evidence": self.evidence, "leading": self.valve.leading, "last_alarm": self.alarmed_at}
        told |= {"opened_at": self.opened_at, "adopted": self.adopted}
        return told | calibration(self.valve) | {"reference": facts.reference}

    def to_row(self) -> tuple[bytes | None, bytes, dict[str, Any]]:
        """What a store keeps: the valve's state, the recent observations, counts."""
        buffer = BytesIO()
        np.save(buffer, self.recent, allow_pickle=False)
        state = None if self.valve is None else self.valve.to_bytes()
        return state, buffer.getvalue(), {name: getattr(self, name) for name in _STORED}

    @classmethod
    def from_row(cls, columns: int, state: bytes | None, recent: bytes, facts: dict[str, Any]) -> "Watch":
        """The watch that `to_row` told. One of a release with other features starts anew.

        Raises:
            InvalidInputError, ValueError: what is stored cannot be read.
        """
        rows = np.load(BytesIO(recent), allow_pickle=False)
        watch = cls(columns)
        if rows.ndim != 2 or rows.shape[1] != columns:
            return watch
        watch.recent = rows
        watch.valve = None if state is None else Valve.from_bytes(state)
        for name in _STORED & facts.keys():
            setattr(watch, name, facts[name])
        return watch


def calibration(valve: Valve) -> dict[str, Any]:
    """The promise, and what the rehearsal saw of it."""
    facts, seen = valve.calibration, valve.calibration.rehearsal
    if seen is None:
        return {"arl0": facts.arl0}
    return {
        "arl0": facts.arl0,
        "arl0_achieved": seen.arl0,
        "rehearsal": {"observations": seen.observations, "alarms": seen.alarms},
        "raised": seen.raised,
    }


def budget(arl0: float) -> float:
    """What each of a stream's two watches gets, so that both together alarm every `arl0` tasks."""
    return min(2.0 * arl0, MAX_ARL0)
