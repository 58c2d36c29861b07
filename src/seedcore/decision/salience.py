"""Salience: how much a task, a stream or an incident deserves attention, in [0, 1], by declared features and a formula.

Each feature adds a share of what is left: 1 - prod(1 - weight * level(value)), a noisy-or. So the formula never falls
when a feature rises, stays within [0, 1], and can be taken apart: what two sets of features say combines as
1 - (1 - a)(1 - b).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log1p
from typing import Literal

Kind = Literal["integer", "number", "boolean"]
FeatureValues = Mapping[str, float | None]
"""Values of features by name; None, or a name that is missing: unknown, which counts as the feature's default."""


@dataclass(frozen=True, slots=True)
class SalienceFeature:
    """One declared feature.

    Attributes:
        kind: type of the value.
        low, high: the range, both allowed.
        default: what null counts as; it adds nothing.
        weight: the most that it adds by itself.
        level: how much of the weight a value adds, from 0 at the default to 1, never falling.
        beforehand: whether it is known when a task is decided about; the learned model uses these alone. The others
            say what became of the task, which it was trained to foretell.
        means: one line for people.
    """

    name: str
    kind: Kind
    low: float
    high: float
    default: float
    weight: float
    level: Callable[[float], float]
    beforehand: bool
    means: str


def _above_one(ratio: float) -> float:
    return max(0.0, 1.0 - 1.0 / ratio) if ratio > 0.0 else 0.0


def _half_at(half: float) -> Callable[[float], float]:
    return lambda value: value / (value + half)


def _as_it_is(value: float) -> float:
    return value


_LARGE = log1p(1024.0)

FEATURES: tuple[SalienceFeature, ...] = (
    SalienceFeature(
        "priority", "integer", -100, 100, 0, 0.3, lambda p: max(0.0, p) / 100.0, True,
        "the task's priority; 0 and less adds nothing",
    ),
    SalienceFeature(
        "attempts", "integer", 1, 100, 1, 0.3, lambda n: 1.0 - 1.0 / n, True, "attempts, with the one that begins",
    ),
    SalienceFeature(
        "params_bytes", "integer", 0, 2**40, 0, 0.05, lambda b: min(1.0, log1p(b / 1024.0) / _LARGE), True,
        "size of the params; all of the weight from 1 MiB on",
    ),
    SalienceFeature(
        "seconds_ratio", "number", 0, 1e6, 1, 0.4, _above_one, True,
        "seconds that it takes, or that the last 50 of its stream took, against what is usual for the stream",
    ),
    SalienceFeature(
        "failure_share", "number", 0, 1, 0, 0.7, _as_it_is, True, "share of its stream's last 100 tasks that failed",
    ),
    SalienceFeature(
        "valve_evidence", "number", 0, 1, 0, 0.6, _as_it_is, True, "the valve's evidence that its stream changed",
    ),
    SalienceFeature(
        "dead_letters", "integer", 0, 2**40, 0, 0.5, _half_at(10.0), True,
        "tasks of its stream that failed for good in the last hour",
    ),
    SalienceFeature(
        "waits_for_approval", "boolean", 0, 1, 0, 0.5, _as_it_is, False, "it waits, or waited, for a person",
    ),
    SalienceFeature("escalated", "boolean", 0, 1, 0, 0.6, _as_it_is, False, "it was sent to be planned"),
    SalienceFeature(
        "cost_ratio", "number", 0, 1e6, 1, 0.3, _above_one, False, "what it cost against what is usual for its type",
    ),
    SalienceFeature(
        "tokens", "integer", 0, 2**40, 0, 0.1, _half_at(10_000.0), False, "tokens of language models that it used",
    ),
)  # fmt: skip
"""The one list of features; docs/models.md shows it."""

BY_NAME: dict[str, SalienceFeature] = {feature.name: feature for feature in FEATURES}
BEFOREHAND: tuple[SalienceFeature, ...] = tuple(feature for feature in FEATURES if feature.beforehand)
"""What the learned model predicts from, in the order of its columns."""

AFTERWARDS: tuple[SalienceFeature, ...] = tuple(feature for feature in FEATURES if not feature.beforehand)
_PRIORITY, _ATTEMPTS = BY_NAME["priority"], BY_NAME["attempts"]


def value_of(feature: SalienceFeature, values: FeatureValues) -> float:
    """The value of a feature within its range; its default where it is unknown."""
    given = values.get(feature.name)
    return feature.default if given is None else min(max(float(given), feature.low), feature.high)


def formula(values: FeatureValues, features: tuple[SalienceFeature, ...] = FEATURES) -> float:
    """The salience by the formula, in [0, 1]; `features` leaves some out."""
    left = 1.0
    for feature in features:
        left *= 1.0 - feature.weight * feature.level(value_of(feature, values))
    return 1.0 - left


def combined(one: float, other: float) -> float:
    """What two saliences say together; at least the larger of them."""
    return 1.0 - (1.0 - one) * (1.0 - other)


def task_salience(stream: float, priority: int, attempt: int) -> float:
    """What a policy rule sees: the salience of a task's stream, raised by the task's own priority and attempts."""
    left = 1.0 - _PRIORITY.weight * _PRIORITY.level(min(max(priority, -100), 100))
    left *= 1.0 - _ATTEMPTS.weight * _ATTEMPTS.level(max(attempt, 1))
    return 1.0 - (1.0 - stream) * left
