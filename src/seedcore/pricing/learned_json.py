"""The JSON of learned rates and money: of whole types, and of what was learned since."""

from typing import NotRequired

from typing_extensions import TypedDict

SumsJson = tuple[float, float, float]
"""Weight, seconds and successes of a `pricing.rates.RateEstimate`."""


class TypeRatesJson(TypedDict):
    """The learned rates of one task type: `agents` has organ, estimate, `at`, fade and recent estimate of each."""

    count: int
    mean: SumsJson
    organs: dict[str, SumsJson]
    agents: dict[str, tuple[str, SumsJson, int, float, SumsJson]]


class TypeMoneyJson(TypedDict):
    """The learned money of one task type."""

    mean: SumsJson
    agents: dict[str, SumsJson]


class Learned(TypedDict):
    """Outcomes of one type at one agent: a count, total seconds, successes; and how many attempts reported how much
    money in all. `count` is 0 where only money was reported."""

    agent: str
    type: str
    count: int
    seconds: float
    successes: int
    money: NotRequired[float]
    paid: NotRequired[int]
