"""The parameters that a search varies: presets, own spaces, and their validation against the allow-list of training."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.training.xgboost_params import RULES, SYNONYMS, ParameterRule

MAX_CHOICES = 64

Number = float | int
DimensionKind = Literal["float", "int", "choice"]

_KINDS = ("float", "int", "choice")
_KEYS = frozenset({"type", "low", "high", "log", "choices"})
# What a search sets by itself, and how the caller says it.
_NOT_SEARCHED = {"num_boost_round": "rounds", "seed": "seed"}


@dataclass(frozen=True, slots=True)
class Dimension:
    """One parameter and the values that it may take: from `low` to `high`, or one of `choices`."""

    name: str
    kind: DimensionKind
    low: Number = 0
    high: Number = 0
    log: bool = False
    choices: tuple[Number, ...] = ()

    def holds(self, value: Number) -> bool:
        """Whether `value` is in it."""
        return value in self.choices if self.kind == "choice" else self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Preset:
    """A space with the effort that suits it."""

    dimensions: tuple[Dimension, ...]
    trials: int
    rounds: int


_RATE = Dimension("learning_rate", "float", 0.03, 0.3, log=True)
_DEPTH = Dimension("max_depth", "int", 2, 8)
_SAMPLING = (Dimension("subsample", "float", 0.5, 1.0), Dimension("colsample_bytree", "float", 0.5, 1.0))
_WEIGHTS = (
    Dimension("min_child_weight", "float", 0.1, 20.0, log=True),
    Dimension("reg_lambda", "float", 0.01, 100.0, log=True),
)
PRESETS: Mapping[str, Preset] = {
    "quick": Preset((_RATE, _DEPTH), trials=10, rounds=60),
    "default": Preset((_RATE, _DEPTH, *_SAMPLING, *_WEIGHTS), trials=30, rounds=200),
    "wide": Preset(
        (
            Dimension("learning_rate", "float", 0.005, 0.5, log=True),
            Dimension("max_depth", "int", 1, 12),
            *_SAMPLING,
            *_WEIGHTS,
            Dimension("reg_alpha", "float", 0.001, 10.0, log=True),
            Dimension("gamma", "float", 0.0, 5.0),
            Dimension("max_bin", "choice", choices=(64, 128, 256, 512)),
        ),
        trials=60,
        rounds=400,
    ),
}
PRESET_SYNONYMS: Mapping[str, str] = {"conservative": "quick", "quick_test": "quick", "aggressive": "wide"}
"""Names that clients of other releases send."""


def preset_of(name: str, field: str) -> Preset:
    """The preset `name`.

    Raises:
        InvalidInputError: there is none; it names `field`.
    """
    found = PRESETS.get(PRESET_SYNONYMS.get(name, name))
    if found is None:
        raise InvalidInputError.for_field(field, f"no preset {name[:40]!r}; presets: {', '.join(PRESETS)}")
    return found


def read_space(space: str | Mapping[str, Mapping[str, object]], fixed: Mapping[str, object]) -> tuple[Dimension, ...]:
    """The dimensions of a preset or of an own space.

    Args:
        space: the name of a preset, or {param: {type, low, high, log} or {type, choices}}.
        fixed: parameters that the caller sets; a preset leaves them out, an own space may not name them.

    Raises:
        InvalidInputError: names each wrong field, such as `space.max_depth.high`.
    """
    taken = {SYNONYMS.get(name, name) for name in fixed}
    if isinstance(space, str):
        found = tuple(d for d in preset_of(space, "space").dimensions if d.name not in taken)
        if not found:
            raise InvalidInputError.for_field("params", "sets every parameter that the space would vary")
        return found
    if not space:
        raise InvalidInputError.for_field("space", "must name at least one parameter")
    wrong: list[FieldError] = []
    dimensions: dict[str, Dimension] = {}
    for key, terms in space.items():
        name = SYNONYMS.get(key, key)
        problem = _problem(key, name, taken, dimensions)
        if problem is not None:
            wrong.append(FieldError(f"space.{key[:100]}", problem))
            continue
        dimension, errors = _read_dimension(f"space.{key}", name, terms)
        wrong += errors
        if dimension is not None:
            dimensions[name] = dimension
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    return tuple(dimensions.values())


def _problem(key: str, name: str, taken: set[str], seen: Mapping[str, Dimension]) -> str | None:
    if name in _NOT_SEARCHED:
        return f"is not searched: give `{_NOT_SEARCHED[name]}` of the request"
    if name not in RULES:
        known = ", ".join(sorted({*RULES, *SYNONYMS} - {*_NOT_SEARCHED, "n_estimators", "random_state"}))
        return f"unknown; allowed: {known}"
    if name in taken:
        return "is also set by `params`; give one of them"
    return f"means {name}, which is also given; give one of them" if name in seen else None


def _read_dimension(field: str, name: str, terms: Mapping[str, object]) -> tuple[Dimension | None, list[FieldError]]:
    rule = RULES[name]
    kind = terms.get("type", "choice" if "choices" in terms else None)
    if kind not in _KINDS:
        return None, [FieldError(f"{field}.type", "must be float, int or choice")]
    if unknown := sorted(terms.keys() - _KEYS):
        return None, [FieldError(f"{field}.{unknown[0][:100]}", f"unknown; allowed: {', '.join(sorted(_KEYS))}")]
    if kind == "choice":
        return _read_choices(field, name, terms, rule)
    return _read_range(field, name, cast(DimensionKind, kind), terms, rule)


def _read_choices(
    field: str, name: str, terms: Mapping[str, object], rule: ParameterRule
) -> tuple[Dimension | None, list[FieldError]]:
    wrong = [FieldError(f"{field}.{k}", "is for float and int") for k in ("low", "high", "log") if k in terms]
    values = terms.get("choices")
    if not isinstance(values, (list, tuple)) or not 1 <= len(values) <= MAX_CHOICES:
        return None, [*wrong, FieldError(f"{field}.choices", f"must be a list of 1 to {MAX_CHOICES} values")]
    wrong += [
        FieldError(f"{field}.choices.{i}", f"must be {rule.allowed()}")
        for i, value in enumerate(values)
        if not rule.accepts(value)
    ]
    if wrong:
        return None, wrong
    choices = tuple(rule.kind(value) for value in values)
    if len(set(choices)) < len(choices):
        return None, [FieldError(f"{field}.choices", "must differ from each other")]
    return Dimension(name, "choice", choices=choices), []


def _read_range(
    field: str, name: str, kind: DimensionKind, terms: Mapping[str, object], rule: ParameterRule
) -> tuple[Dimension | None, list[FieldError]]:
    wrong = []
    if "choices" in terms:
        wrong.append(FieldError(f"{field}.choices", "is for the type choice"))
    if kind == "float" and rule.kind is int:
        wrong.append(FieldError(f"{field}.type", f"{name} is an integer: must be int or choice"))
    ends = [terms.get("low"), terms.get("high")]
    whole = rule.kind is int or kind == "int"
    for end, value in zip(("low", "high"), ends, strict=True):
        if not rule.accepts(value) or (whole and isinstance(value, float) and not value.is_integer()):
            noun = rule.allowed() if not whole else rule.allowed().replace("a number", "an integer")
            wrong.append(FieldError(f"{field}.{end}", f"must be {noun}"))
    log = terms.get("log", False)
    if not isinstance(log, bool):
        wrong.append(FieldError(f"{field}.log", "must be true or false"))
    if wrong:
        return None, wrong
    low, high = (int(cast(Number, v)) if whole else float(cast(Number, v)) for v in ends)
    if not low < high:
        return None, [FieldError(f"{field}.high", f"must be above low ({low:g})")]
    if log and not low > 0:
        return None, [FieldError(f"{field}.low", "must be above 0 on a logarithmic scale")]
    if not math.isfinite(high - low):
        return None, [FieldError(f"{field}.high", "is too far from low")]
    return Dimension(name, kind, low, high, bool(log)), []


def optuna_space(dimensions: Iterable[Dimension]) -> dict[str, Any]:
    """The dimensions as Optuna's distributions, by name."""
    from optuna import distributions

    def distribution(dimension: Dimension) -> Any:
        if dimension.kind == "choice":
            return distributions.CategoricalDistribution(dimension.choices)
        if dimension.kind == "int":
            return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)

    return {dimension.name: distribution(dimension) for dimension in dimensions}
