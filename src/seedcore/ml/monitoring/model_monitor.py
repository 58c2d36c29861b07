"""All that is watched about one champion: its inputs, its losses, its accuracy, and what that has caused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from seedcore.ml.monitoring.accuracy_window import ARL0
from seedcore.ml.monitoring.change_time import MonitorAlarms, PredictionMark
from seedcore.ml.monitoring.input_monitor import InputMonitor
from seedcore.ml.monitoring.loss_monitor import LossMonitor
from seedcore.ml.monitoring.triage_asks import TriageAsks
from seedcore.ml.registry.model_manifest import ModelManifest

MonitorName = Literal["inputs", "losses", "accuracy"]


class OpenMonitor(NamedTuple):
    """A monitor that is open, with its alarms and its mean observations between false alarms."""

    monitor: MonitorName
    alarms: MonitorAlarms
    arl0: float


@dataclass(slots=True)
class ModelMonitor:
    """The monitors of a champion.

    Attributes:
        name, version: of the model.
        begun: when they began to watch it (seconds since 1970).
        first: number of the newest prediction then; those before count for nothing.
        predictions, outcomes: numbers of the last rows that were taken.
        inputs, losses: the monitors.
        asks: what the Coordinator was asked, and what that caused.
    """

    name: str
    version: int
    begun: float
    first: int
    predictions: int
    outcomes: int
    inputs: InputMonitor
    losses: LossMonitor
    asks: TriageAsks = field(default_factory=TriageAsks)

    @classmethod
    def begin(
        cls, manifest: ModelManifest, arl0: float, newest: tuple[int, int], now: float, caused: list[dict[str, Any]]
    ) -> "ModelMonitor":
        """The monitors of a version that just became champion; `caused` is what its forerunners caused."""
        inputs = InputMonitor(manifest.columns, len(manifest.features), arl0)
        predictions, outcomes = newest
        return cls(
            manifest.name,
            manifest.version,
            now,
            predictions,
            predictions,
            outcomes,
            inputs,
            LossMonitor.of(manifest, arl0),
            TriageAsks(caused=caused),
        )

    def opened(self) -> list[OpenMonitor]:
        """The open monitors, the one that opened first at first."""
        found = [
            OpenMonitor("inputs", self.inputs.alarms, self.inputs.arl0),
            OpenMonitor("losses", self.losses.alarms, self.losses.arl0),
            OpenMonitor("accuracy", self.losses.window.alarms, ARL0),
        ]
        return sorted((one for one in found if one.alarms.open), key=lambda one: one.alarms.opened_at or 0.0)

    def since(self) -> PredictionMark | None:
        """The estimated beginning of the change: of the open monitors, the one that opened first; None: all closed."""
        opened = self.opened()
        return opened[0].alarms.since if opened else None

    def report(self) -> dict[str, Any]:
        """As `GET /ml/xgboost/monitors` shows it."""
        inputs, losses = self.inputs.report(), self.losses.report()
        for report, alarms in ((inputs, self.inputs.alarms), (losses, self.losses.alarms)):
            if alarms.open:
                report |= _opened(alarms)
        accuracy = self.losses.accuracy_report()
        if accuracy is not None and self.losses.window.alarms.open:
            accuracy |= _opened(self.losses.window.alarms)
        return {
            "since": moment(self.begun),
            "inputs": inputs,
            "losses": losses,
            "accuracy": accuracy,
            "caused": self.asks.caused,
        }

    def to_facts(self) -> dict[str, object]:
        """All but the inputs' state, as JSON."""
        return {
            "begun": self.begun,
            "first": self.first,
            "predictions": self.predictions,
            "outcomes": self.outcomes,
            "losses": self.losses.to_json(),
            "asks": self.asks.to_json(),
            "report": self.report(),
        }

    @classmethod
    def restore(cls, manifest: ModelManifest, state: bytes, facts: Mapping[str, Any]) -> "ModelMonitor":
        """What was stored.

        Raises:
            InvalidInputError, KeyError, TypeError, ValueError: it cannot be read.
        """
        return cls(
            manifest.name,
            manifest.version,
            facts["begun"],
            facts["first"],
            facts["predictions"],
            facts["outcomes"],
            InputMonitor.from_bytes(state, manifest.columns, len(manifest.features)),
            LossMonitor.from_json(facts["losses"]),
            TriageAsks.from_json(facts["asks"]),
        )


def moment(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _opened(alarms: MonitorAlarms) -> dict[str, object]:
    since = None if alarms.since is None else moment(alarms.since.made_at)
    opened_at = None if alarms.opened_at is None else moment(alarms.opened_at)
    return {"opened_at": opened_at, "change_since": since, "peak": alarms.peak}
