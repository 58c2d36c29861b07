"""Routes: a type's organ, else a domain's, else a clear no."""

import pytest

from seedcore.errors import NotFoundError
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.routing.type_routes import TypeRoutes

ORGANS = {"utility": Organ("utility", OrganSpec()), "risk": Organ("risk", OrganSpec(domains=["credit", "fraud"]))}
ROUTES = TypeRoutes.of(7, {"echo": "utility", "score": "risk", "orphan": "nowhere"}, ORGANS)


@pytest.mark.parametrize(
    ("task_type", "domain", "answer"),
    [
        ("echo", None, ("utility", "type")),
        (None, "fraud", ("risk", "domain")),
        ("echo", "fraud", ("utility", "type")),
        ("unheard", "fraud", ("risk", "domain")),
    ],
)
def test_a_type_counts_more_than_a_domain(task_type: str | None, domain: str | None, answer: tuple[str, str]):
    assert ROUTES.resolve(task_type, domain) == answer


@pytest.mark.parametrize(("task_type", "domain"), [("unheard", None), (None, "unheard"), ("unheard", "unheard")])
def test_what_nobody_does_is_told_with_what_is_known(task_type: str | None, domain: str | None):
    with pytest.raises(NotFoundError, match=r"'unheard'.*echo.*credit, fraud"):
        ROUTES.resolve(task_type, domain)


def test_a_skill_whose_organ_nobody_wants_is_told():
    with pytest.raises(NotFoundError, match="'nowhere'"):
        ROUTES.resolve("orphan", None)
