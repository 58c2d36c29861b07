"""Options of a goal: what to do when a step fails, and the budget of its plan."""

import math
from collections.abc import Mapping

from seedcore.errors import FieldError, InvalidInputError
from seedcore.settings import Settings, env_names

MAX_NAMES, MAX_NAME, MAX_INPUTS = 32, 2000, 256
"""Bounds of a goal: how many names and of what length, and how many inputs. The planner has the same ones."""

POLICIES = ("fail", "skip", "replan")
OTHERS = "*"
_LIMITS = {
    "steps": "max_plan_steps",
    "time_s": "max_plan_time_s",
    "tokens": "max_plan_tokens",
    "money": "max_plan_money",
}


def read_goal(params: Mapping[str, object], settings: Settings) -> tuple[dict[str, str], dict[str, float]]:
    """The policy by skill (`*`: the others) and the budget of a goal; the settings' bounds by default.

    Raises:
        InvalidInputError: names the field and what is allowed.
    """
    wrong: list[FieldError] = []
    _check_names(params.get("goal"), wrong)
    inputs = params.get("inputs", {})
    if not isinstance(inputs, dict):
        wrong.append(FieldError("params.inputs", "an object of named values"))
    elif len(inputs) > MAX_INPUTS:
        wrong.append(FieldError("params.inputs", f"{len(inputs)} values, at most {MAX_INPUTS} are allowed"))
    policy = _policy(params.get("on_failure"), wrong)
    budget = _budget(params.get("budget"), settings, wrong)
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    return policy, budget


def _check_names(goal: object, wrong: list[FieldError]) -> None:
    names = goal if isinstance(goal, list) else [goal]
    texts = [name.strip() for name in names if isinstance(name, str)]
    if not names or len(texts) < len(names) or not all(texts):
        wrong.append(FieldError("params.goal", "say what is wanted: the name of an output field, or a list of them"))
    elif len(names) > MAX_NAMES:
        wrong.append(FieldError("params.goal", f"{len(names)} names, at most {MAX_NAMES} are allowed"))
    elif (longest := max(map(len, texts))) > MAX_NAME:
        wrong.append(FieldError("params.goal", f"a name of {longest} characters, at most {MAX_NAME} are allowed"))


def bounds(settings: Settings) -> dict[str, float]:
    """The budget of a plan whose task gives none."""
    return {name: getattr(settings, field) for name, field in _LIMITS.items()}


def _policy(given: object, wrong: list[FieldError]) -> dict[str, str]:
    if given is None:
        return {}
    by_skill = given if isinstance(given, dict) else {OTHERS: given}
    for skill, policy in by_skill.items():
        if policy not in POLICIES:
            field = "params.on_failure" if by_skill is not given else f"params.on_failure.{skill}"
            wrong.append(FieldError(field, f"one of {', '.join(POLICIES)}, or an object of one for each skill"))
    return dict(by_skill)


def _budget(given: object, settings: Settings, wrong: list[FieldError]) -> dict[str, float]:
    budget = bounds(settings)
    if given is None:
        return budget
    if not isinstance(given, dict):
        wrong.append(FieldError("params.budget", f"an object of {', '.join(_LIMITS)}"))
        return budget
    for name, value in given.items():
        where = f"params.budget.{name}"
        if name not in _LIMITS:
            wrong.append(FieldError(where, f"no such budget; there are {', '.join(_LIMITS)}"))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            wrong.append(FieldError(where, "a number greater than 0"))
        elif name == "steps" and value != int(value):
            wrong.append(FieldError(where, "a whole number of steps, at least 1"))
        elif value > budget[name]:
            wrong.append(FieldError(where, f"at most {budget[name]:g} ({env_names(_LIMITS[name])[0]})"))
        else:
            budget[name] = value
    return budget
