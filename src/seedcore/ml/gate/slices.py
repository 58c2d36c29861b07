"""Slices: parts of the tasks that share a value of a declared column. None may lose more than its column's margin."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seedcore.ml.gate.betting_mean import BettingMean
from seedcore.ml.registry.model_manifest import ModelManifest

MAX_VALUES = 16
"""Values of a column that are judged apart; later ones are judged together."""
OTHERS, MISSING = "(others)", "(missing)"
FEW, SHARE = 20, 0.02
"""A slice with fewer outcomes than this number, or than this share of all, is listed, not judged."""

SliceStatus = Literal["held", "broken", "open", "few"]


@dataclass(frozen=True, slots=True)
class SliceVerdict:
    """What is certain of one slice.

    `alpha` is its part: the j-th value that came gets alpha/(j(j + 1)), and all parts together are alpha, so that the
    bounds of all slices hold at once.
    """

    column: str
    value: str
    margin: float
    status: SliceStatus
    gain: BettingMean
    alpha: float

    def evidence(self) -> dict[str, object]:
        """For people, with the bounds of the gain, which take some milliseconds."""
        return {
            "column": self.column,
            "value": self.value,
            "margin": self.margin,
            "status": self.status,
            "outcomes": self.gain.n,
            "gain": self.gain.mean,
            "lower": self.gain.lower(self.alpha),
            "upper": self.gain.upper(self.alpha),
            "alpha": self.alpha,
        }


def slice_values(manifest: ModelManifest, declared: Iterable[str], features: Sequence[float | None]) -> dict[str, str]:
    """{declared column: its value in this row, as text}; `features` are in the order of `manifest`."""
    values = {}
    for name in declared:
        if name not in manifest.features:
            continue
        at = manifest.features.index(name)
        value = features[at] if at < len(features) else None
        if value is None or not math.isfinite(value):
            values[name] = MISSING
            continue
        categories = manifest.columns[at].categories if at < len(manifest.columns) else None
        known = categories is not None and 0 <= int(value) < len(categories)
        values[name] = categories[int(value)] if categories is not None and known else f"{value:g}"
    return values


class Slices:
    """The gain in each slice."""

    def __init__(self, state: Sequence[Sequence[Any]] = ()) -> None:
        # In the order in which they came.
        self._gains: dict[tuple[str, str], BettingMean] = {
            (column, value): BettingMean.from_json(gain) for column, value, gain in state
        }

    def add(self, values: Mapping[str, str], gain: float) -> None:
        """Take the gain at one task, and its values of declared columns."""
        for column, value in values.items():
            key = (column, value[:200])
            if key not in self._gains and sum(1 for name, _ in self._gains if name == column) >= MAX_VALUES:
                key = (column, OTHERS)
            self._gains.setdefault(key, BettingMean()).add(gain)

    def verdicts(
        self, margins: Mapping[str, float], total: int, alpha: float, alpha_broken: float
    ) -> Iterator[SliceVerdict]:
        """Of every slice; `total` tasks were judged in all."""
        for j, ((column, value), gain) in enumerate(self._gains.items(), 1):
            margin, part = margins.get(column), 1.0 / (j * (j + 1))
            if margin is None:
                continue
            status: SliceStatus = "open"
            if gain.log_evidence_below(-margin) >= math.log(1.0 / (alpha_broken * part)):
                status = "broken"
            elif gain.n < max(FEW, SHARE * total):
                status = "few"
            elif gain.log_evidence(-margin) >= math.log(1.0 / (alpha * part)):
                status = "held"
            yield SliceVerdict(column, value, margin, status, gain, alpha * part)

    def to_json(self) -> list[list[object]]:
        """The state."""
        return [[column, value, gain.to_json()] for (column, value), gain in self._gains.items()]
