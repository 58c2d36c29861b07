from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.ml.training.xgboost_params import RULES, resolve_params
from seedcore.ml.tuning.search_space import PRESETS, optuna_space, preset_of, read_space


def wrong_fields(space: Any, fixed: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        read_space(space, fixed or {})
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_is_one_that_training_takes(name: str):
    for dimension in read_space(name, {}):
        ends = dimension.choices or (dimension.low, dimension.high)
        assert all(RULES[dimension.name].accepts(end) for end in ends)


def test_a_preset_leaves_out_what_the_caller_sets():
    assert [d.name for d in read_space("quick", {"eta": 0.1})] == ["max_depth"]
    assert wrong_fields("quick", {"eta": 0.1, "max_depth": 3}) == ["params"]


def test_names_of_other_releases_mean_a_preset_and_unknown_ones_are_refused():
    assert preset_of("aggressive", "space") is PRESETS["wide"]
    assert wrong_fields("everything") == ["space"]


@pytest.mark.parametrize(
    ("space", "field"),
    [
        ({}, "space"),
        ({"depth": {"type": "int", "low": 1, "high": 3}}, "space.depth"),
        ({"num_boost_round": {"type": "int", "low": 1, "high": 3}}, "space.num_boost_round"),
        ({"seed": {"type": "int", "low": 1, "high": 3}}, "space.seed"),
        ({"max_depth": {"low": 1, "high": 3}}, "space.max_depth.type"),
        ({"max_depth": {"type": ["int"], "low": 1, "high": 3}}, "space.max_depth.type"),
        ({"max_depth": {"type": "float", "low": 1, "high": 3}}, "space.max_depth.type"),
        ({"max_depth": {"type": "int", "low": 1, "high": 99}}, "space.max_depth.high"),
        ({"max_depth": {"type": "int", "low": 1.5, "high": 3}}, "space.max_depth.low"),
        ({"max_depth": {"type": "int", "low": 3, "high": 3}}, "space.max_depth.high"),
        ({"max_depth": {"type": "int", "low": 1, "high": 3, "step": 2}}, "space.max_depth.step"),
        ({"gamma": {"type": "float", "low": 0, "high": 3, "log": True}}, "space.gamma.low"),
        ({"gamma": {"type": "float", "low": 0, "high": float("inf")}}, "space.gamma.high"),
        ({"gamma": {"type": "float", "low": True, "high": 2}}, "space.gamma.low"),
        ({"gamma": {"type": "float", "low": 0, "high": 2, "log": 1}}, "space.gamma.log"),
        ({"gamma": {"type": "choice", "choices": []}}, "space.gamma.choices"),
        ({"gamma": {"type": "choice", "choices": [1, 1.0]}}, "space.gamma.choices"),
        ({"gamma": {"type": "choice", "choices": [1, "2"]}}, "space.gamma.choices.1"),
        ({"gamma": {"type": "choice", "choices": [1], "low": 0}}, "space.gamma.low"),
        ({"eta": {"type": "float", "low": 0.1, "high": 0.2}, "learning_rate": {}}, "space.learning_rate"),
    ],
)
def test_a_wrong_space_is_refused_by_the_name_of_its_field(space: dict[str, Any], field: str):
    assert wrong_fields(space) == [field]


def test_a_parameter_is_either_set_or_searched():
    assert wrong_fields({"eta": {"type": "float", "low": 0.1, "high": 0.2}}, {"learning_rate": 0.1}) == ["space.eta"]


@given(
    st.dictionaries(
        st.sampled_from(sorted(RULES)), st.dictionaries(st.text(max_size=6), st.integers() | st.text()), max_size=3
    )
)
def test_a_space_is_searchable_or_refused(space: dict[str, Any]):
    try:
        found = read_space(space, {})
    except InvalidInputError:
        return
    assert {dimension.name for dimension in found} == set(space)


def test_what_optuna_draws_is_in_the_space_and_trains():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    dimensions = read_space("wide", {})
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    for _ in range(20):
        drawn = study.ask(optuna_space(dimensions)).params
        assert all(dimension.holds(drawn[dimension.name]) for dimension in dimensions)
        resolve_params(drawn)
