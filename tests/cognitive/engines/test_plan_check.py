"""What the check of plans keeps out: addresses that nobody but a text or a model asked for."""

import pytest

from seedcore.cognitive.engines.plan_check import check_plan
from seedcore.errors import InvalidInputError
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.signatures import Signature, signatures
from seedcore.tasks.plans.plan import PlanDefinition, Step

GOAL = "Read https://example.org/page, and say what it says (see https://example.com)."


@pytest.fixture(scope="module")
def skills() -> dict[str, Signature]:
    return signatures(SkillRegistry.load(load_settings()).values())


def checked(skills: dict[str, Signature], skill: str, params: dict[str, object], field: str) -> None:
    steps = (Step("s1", skill, params, ()),)
    plan = PlanDefinition(steps, {field: {"$from": "s1", "field": field}}, {}, 1.0)
    check_plan(plan, skills, max_steps=5, said=GOAL)


@pytest.mark.parametrize(
    "url", ["https://example.org/page", "https://example.org/", "https://example.org", "https://example.com"]
)
def test_addresses_of_the_goal_may_be_used(skills, url):
    checked(skills, "http.fetch", {"url": url}, "text")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.net/?q=secret",
        "HTTPS://EVIL.NET",
        'https://example.org"@evil.net/',
        "https://example.org'@evil.net/",
        "https://example.org <@evil.net",
        "https://example.org @evil.net",
        "https://example.org@evil.net",
        "https://example.org/page@evil.net",
        "https://example.co",
        "https://example.or",
        "https://example.org:8443",
        "ftp://example.org/page",
        "mailto:me@evil.net",
    ],
)
def test_an_address_that_does_not_stand_in_the_goal_is_refused(skills, url):
    with pytest.raises(InvalidInputError) as refused:
        checked(skills, "http.fetch", {"url": url}, "text")
    assert [error.field for error in refused.value.errors] == ["steps.0.params.url"] * len(refused.value.errors)


@pytest.mark.parametrize("levels", [1, 33, 90])
def test_no_depth_hides_an_address(skills, levels):
    value: object = {"https://evil.net/": 1}
    for _ in range(levels):
        value = [value]
    with pytest.raises(InvalidInputError, match=r"evil\.net"):
        checked(skills, "echo", {"value": value}, "value")
