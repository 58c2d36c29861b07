"""The rule of a request is that of the route that answers it."""

from typing import Any

import pytest
from fastapi import FastAPI, Request

from seedcore.web.access.access_control import AccessControl
from seedcore.web.access.route_rules import NO_PATH, RouteRules, route_path
from tests.web.application import client_of, make_app

PATHS = [
    "/things",
    "/things/",
    "/things/7",
    "/things/all",
    "/things/all/",
    "/things/7/parts/x/y",
    "/things/7%2Fparts",
    "//things",
    "/things//7",
    "/deep/a/b/end",
    "/deep/a/b/end/end",
    "/deep//end",
    "/deep/end",
    "/./things",
    "/things/../things",
    "/THINGS",
    "/things/all%0A",
    "/things%0A",
    "/things/7/parts/x%0A",
    "/deep/a/end%0A",
    "/things%0A%0A",
]


def application() -> FastAPI:
    app = make_app()

    def answers(template: str, method: str) -> Any:
        async def answer(request: Request) -> str:
            return f"{method} {template}"

        return answer

    for method, template in (
        ("GET", "/things/{thing}"),
        ("GET", "/things/all"),
        ("POST", "/things/all"),
        ("GET", "/things"),
        ("POST", "/things/{thing}"),
        ("GET", "/things/{thing}/parts/{part:path}"),
        ("GET", "/deep/{path:path}/end"),
        ("GET", "/deep/{path:path}"),
    ):
        app.add_api_route(template, answers(template, method), methods=[method])
    return app


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_rule_is_that_of_the_route_that_answers(method: str, path: str):
    app = application()
    seen: list[str] = []
    rules = RouteRules("test", app)
    control: AccessControl = app.state.access
    begin = control.begin

    def spying(scope: Any) -> Any:
        seen.append(rules.find(scope)[1])
        return begin(scope)

    control.begin = spying  # type: ignore[method-assign]
    answer = await client_of(app).request(method, path)
    told = answer.json() if answer.status_code == 200 else f"{method} {NO_PATH}"
    assert seen == [told]


@pytest.mark.parametrize(
    ("path", "root", "seen"),
    [
        ("/pipeline/health", "/pipeline", "/health"),
        ("/pipelinehealth", "/pipeline", "/pipelinehealth"),
        ("/pipeline", "/pipeline", ""),
        ("/health", "/pipeline", "/health"),
        ("/health", "", "/health"),
    ],
)
def test_a_prefix_is_taken_off_as_the_router_does(path: str, root: str, seen: str):
    assert route_path({"path": path, "root_path": root}) == seen


def test_an_unknown_method_does_not_reach_the_audit_log():
    _, action, _ = RouteRules("test", make_app()).find({"method": "A" * 5000, "path": "/pick"})
    assert action == f"OTHER {NO_PATH}"
