import pytest

from seedcore.errors import InvalidInputError
from seedcore.ml.training.xgboost_params import RULES, resolve_params


def test_nothing_given_means_the_defaults():
    assert resolve_params({}) == {name: rule.default for name, rule in RULES.items()}


def test_synonyms_arrive_under_xgboosts_own_names():
    found = resolve_params({"n_estimators": 7, "eta": 0.05, "random_state": 3})
    assert (found["num_boost_round"], found["learning_rate"], found["seed"]) == (7, 0.05, 3)


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"booster": "dart"}, "params.booster", "allowed"),
        ({"max_depth": 0}, "params.max_depth", "from 1 to 16"),
        ({"max_depth": 2.5}, "params.max_depth", "integer"),
        ({"max_depth": True}, "params.max_depth", "integer"),
        ({"max_depth": "6"}, "params.max_depth", "integer"),
        ({"learning_rate": 0}, "params.learning_rate", "above 0"),
        ({"subsample": float("nan")}, "params.subsample", "number"),
        ({"eta": 0.1, "learning_rate": 0.2}, "params.learning_rate", "also given"),
        ({"nthread": 64}, "params.nthread", "unknown"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(given, field, says):
    with pytest.raises(InvalidInputError) as caught:
        resolve_params(given)
    assert [e.field for e in caught.value.errors] == [field]
    assert says in caught.value.errors[0].message
