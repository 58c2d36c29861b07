"""What a skill may report as spent: finite, bounded, and an error that says so."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from seedcore.skills.context import MAX_MONEY, MAX_TOKENS, SkillContext
from seedcore.telemetry.metrics.metric_registry import REGISTRY


def context() -> SkillContext:
    return SkillContext("t", 1, 1, "k", None, meter=SimpleNamespace(usage=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tokens", "money"])
@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -1,
        10**400,
        "5",
        None,
        Decimal("NaN"),
        b"1",
        pytest.param(-(10**5000), id="5000 digits"),
    ],
)
def test_what_is_no_amount_is_refused_by_name_and_nothing_of_it_stays(name: str, value: Any):
    made = context()
    made.spend(tokens=3, money=0.5)
    with pytest.raises(ValueError, match=f"spend: {name} must be a finite number that is not negative"):
        made.spend(**{name: value})
    assert made.meter is not None
    assert made.meter.usage == (3.0, 0.5)


@pytest.mark.parametrize(("name", "most"), [("tokens", MAX_TOKENS), ("money", MAX_MONEY)])
def test_an_attempts_sum_is_bounded(name: str, most: float):
    made = context()
    made.spend(**{name: most})
    with pytest.raises(ValueError, match=f"spend: {name} of one attempt must be at most 1e"):
        made.spend(**{name: 1e308})
    with pytest.raises(ValueError, match="at most"):
        SkillContext("t", 1, 1, "k", None).spend(**{name: 1e300})


def test_other_kinds_of_numbers_are_added_up():
    made = context()
    REGISTRY.take()
    made.spend(money=Decimal("0.25"))
    made.spend(money=0.5)
    assert made.meter is not None
    assert made.meter.usage == (0.0, 0.75)
    assert REGISTRY.take().counts["seedcore_model_money_total"] == {("unreported",): 0.75}
