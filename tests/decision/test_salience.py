"""The formula of the salience: monotone in each feature, within [0, 1], and combined as the rules see it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.decision.salience import (
    AFTERWARDS,
    BEFOREHAND,
    BY_NAME,
    FEATURES,
    SalienceFeature,
    combined,
    formula,
    task_salience,
)


def value(feature: SalienceFeature) -> st.SearchStrategy[float]:
    if feature.kind == "number":
        return st.floats(feature.low, feature.high)
    return st.integers(int(feature.low), int(feature.high))


ITEMS = st.fixed_dictionaries({feature.name: st.none() | value(feature) for feature in FEATURES})


@given(ITEMS)
def test_a_score_is_within_0_and_1(item):
    assert 0.0 <= formula(item) <= 1.0


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
@given(item=ITEMS, data=st.data())
def test_a_higher_value_never_lowers_the_score(feature, item, data):
    low, high = sorted((data.draw(value(feature)), data.draw(value(feature))))
    assert formula(item | {feature.name: low}) <= formula(item | {feature.name: high}) + 1e-12


@given(ITEMS)
def test_what_is_not_known_adds_nothing(item):
    defaults = {name: BY_NAME[name].default if given is None else given for name, given in item.items()}
    assert formula(item) == formula(defaults)
    assert formula({name: given for name, given in item.items() if given is not None}) == formula(item)


def test_nothing_known_is_no_salience_and_each_feature_can_add_its_weight():
    assert formula({}) == 0.0
    for feature in FEATURES:
        assert formula({feature.name: feature.high}) == pytest.approx(feature.weight, rel=0.02)


@given(ITEMS)
def test_the_parts_combine_to_the_whole(item):
    assert combined(formula(item, BEFOREHAND), formula(item, AFTERWARDS)) == pytest.approx(formula(item))


@given(ITEMS, st.integers(-100, 100), st.integers(1, 100))
def test_a_rule_sees_what_the_formula_says_of_stream_and_task_together(item, priority, attempt):
    stream = formula(item | {"priority": None, "attempts": None})
    whole = formula(item | {"priority": priority, "attempts": attempt})
    assert task_salience(stream, priority, attempt) == pytest.approx(whole)
    assert task_salience(stream, priority, attempt) >= stream - 1e-12


def test_values_beyond_their_range_count_as_its_ends():
    assert formula({"failure_share": 7.0}) == formula({"failure_share": 1.0})
    assert formula({"seconds_ratio": -1.0}) == 0.0
    assert task_salience(0.2, 30_000, 0) == pytest.approx(1 - 0.8 * 0.7)


def test_the_page_lists_each_feature_with_its_meaning_default_and_weight():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    for feature in FEATURES:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{feature.name}` ")]
        _, _, kind, means, null, weight, *_ = (cell.strip() for cell in line.split("|"))
        assert kind.split(",")[0] == feature.kind
        assert means == feature.means
        assert null == ("false" if feature.kind == "boolean" else f"{feature.default:g}")
        assert float(weight) == feature.weight
