"""Validates the XGBoost parameters that a client may set, by an allow-list with types and ranges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from seedcore.errors import FieldError, InvalidInputError


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """One parameter: type, range (including both ends; without the lower end when `above`) and default."""

    kind: type[int] | type[float]
    low: float
    high: float
    default: float | int
    above: bool = False

    def allowed(self) -> str:
        """The range in words."""
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} {'above' if self.above else 'from'} {self.low:g} to {self.high:g}"

    def accepts(self, value: object) -> TypeGuard[int | float]:
        """Whether `value` is of the type and in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e300 < value < 1e300:
            return False
        if self.kind is int and value != int(value):
            return False
        return (value > self.low if self.above else value >= self.low) and value <= self.high


# The defaults are XGBoost's own; num_boost_round is the count of trees that its scikit-learn wrapper uses.
RULES: Mapping[str, ParameterRule] = {
    "num_boost_round": ParameterRule(int, 1, 5000, 100),
    "max_depth": ParameterRule(int, 1, 16, 6),
    "max_bin": ParameterRule(int, 2, 1024, 256),
    "learning_rate": ParameterRule(float, 0, 1, 0.3, above=True),
    "subsample": ParameterRule(float, 0, 1, 1.0, above=True),
    "colsample_bytree": ParameterRule(float, 0, 1, 1.0, above=True),
    "reg_lambda": ParameterRule(float, 0, 1e6, 1.0),
    "reg_alpha": ParameterRule(float, 0, 1e6, 0.0),
    "min_child_weight": ParameterRule(float, 0, 1e6, 1.0),
    "gamma": ParameterRule(float, 0, 1e6, 0.0),
    "scale_pos_weight": ParameterRule(float, 0, 1e6, 1.0, above=True),
    "seed": ParameterRule(int, 0, 2**31 - 1, 0),
}
SYNONYMS: Mapping[str, str] = {
    "n_estimators": "num_boost_round",
    "eta": "learning_rate",
    "lambda": "reg_lambda",
    "alpha": "reg_alpha",
    "min_split_loss": "gamma",
    "random_state": "seed",
}


def resolve_params(given: Mapping[str, object]) -> dict[str, float | int]:
    """All parameters under XGBoost's names: the given ones, validated, and defaults for the rest.

    Raises:
        InvalidInputError: names each unknown, repeated or out-of-range parameter.
    """
    wrong: list[FieldError] = []
    found: dict[str, float | int] = {}
    for key, value in given.items():
        name = SYNONYMS.get(key, key)
        rule = RULES.get(name)
        if rule is None:
            known = ", ".join(sorted((*RULES, *SYNONYMS)))
            wrong.append(FieldError(f"params.{key}", f"unknown; allowed: {known}"))
        elif name in found:
            wrong.append(FieldError(f"params.{key}", f"means {name}, which is also given; give one of them"))
        elif not rule.accepts(value):
            wrong.append(FieldError(f"params.{key}", f"must be {rule.allowed()}"))
        else:
            found[name] = rule.kind(value)
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    return {name: rule.default for name, rule in RULES.items()} | found
