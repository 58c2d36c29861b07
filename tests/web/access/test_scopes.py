"""The table of scopes: every route of every application is in it, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from seedcore.api.app import build_app
from seedcore.cognitive.service import CognitiveService
from seedcore.coordinator.service import CoordinatorService
from seedcore.energy.service import EnergyService
from seedcore.ml.service import MLService
from seedcore.organism.service import OrganismService
from seedcore.settings import Settings
from seedcore.state.service import StateService
from seedcore.web.access.caller import SCOPES
from seedcore.web.access.scopes import PREFIXES, RULES
from tests.organism.fake_hosts import Pool

SERVICES: tuple[Any, ...] = (
    CoordinatorService,
    MLService,
    CognitiveService,
    StateService,
    EnergyService,
    OrganismService,
)


def applications(settings: Settings) -> Iterator[tuple[str, FastAPI]]:
    yield "gateway", build_app(settings)
    for service in SERVICES:
        needed = {"provisioner": Pool} if service is OrganismService else {}
        yield service.name, service({}, settings, **needed).build_app()


def routes_of(app: FastAPI) -> set[str]:
    documented = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    # OpenAPI does not say which parameters hold slashes, nor what is left out of it.
    served = {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert documented <= {route.replace(":path}", "}") for route in served}
    return served


def test_every_route_of_every_application_has_a_rule(settings: Settings):
    found = {name: routes_of(app) for name, app in applications(settings)}
    missing = {name: sorted(routes - set(RULES[name])) for name, routes in found.items()}
    assert {name: routes for name, routes in missing.items() if routes} == {}, "write them into web/access/scopes.py"
    gone = {name: sorted(set(RULES[name]) - routes - {"GET /metrics"}) for name, routes in found.items()}
    assert {name: routes for name, routes in gone.items() if routes} == {}
    assert set(found) == set(RULES) == set(PREFIXES)


@pytest.mark.parametrize("name", RULES)
def test_reading_needs_read_and_nothing_that_changes_does(name: str):
    for route, rule in RULES[name].items():
        method = route.split()[0]
        assert rule.scope in SCOPES
        if method == "GET":
            assert rule.scope in ("read", "admin"), route
            assert not rule.audited, route
        elif rule.scope == "read":
            # Questions with a body.
            assert route in {
                "POST /api/v1/memory/search",
                "POST /unified-state",
                "POST /resolve-route",
                "POST /resolve-routes",
            }
        if method in ("PUT", "DELETE", "PATCH"):
            assert rule.audited, route


def test_whatever_changes_the_whole_system_is_the_platforms():
    for name, rules in RULES.items():
        if name == "gateway":
            continue
        for route, rule in rules.items():
            if rule.scope in ("operate", "admin", "approve"):
                assert rule.platform, f"{name} {route}"
