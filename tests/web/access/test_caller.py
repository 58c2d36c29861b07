"""Who sends a request, as its route sees it."""

from typing import Any

import pytest

from seedcore.errors import ForbiddenError
from seedcore.web.access.caller import ANONYMOUS, Caller, CallerDep, approver_name
from tests.web.application import client_of, make_app


@pytest.mark.parametrize(
    ("sent", "settings", "seen"),
    [
        ({}, {}, ["anonymous", "anonymous", None]),
        ({"x-api-key": "two"}, {"api_keys": "one,two"}, ["setting-2", "setting", "setting-2"]),
        ({"x-api-key": "s"}, {"api_keys": "one", "approver_keys": "ann:s"}, ["ann", "approver", "ann"]),
        ({"x-api-key": "s"}, {"approver_keys": "ann:s"}, ["ann", "approver", "ann"]),
        ({"x-api-key": "s"}, {"api_keys": "s", "approver_keys": "ann:s"}, ["ann", "approver", "ann"]),
    ],
)
async def test_a_route_gets_the_platform_caller_of_the_key(sent: Any, settings: Any, seen: list[str | None]):
    app = make_app(**settings)

    @app.get("/who")
    async def who(caller: CallerDep) -> list[Any]:
        return [caller.name, caller.kind, caller.by, caller.tenant, caller.payloads, sorted(caller.scopes)]

    answer = await client_of(app).get("/who", headers=sent)
    assert answer.json() == [*seen, None, True, ["admin", "approve", "operate", "read", "submit"]]


def test_where_approvers_are_configured_only_they_and_keys_decide():
    assert approver_name(ANONYMOUS, False) is None
    assert approver_name(Caller("ann", "approver"), True) == "ann"
    assert approver_name(Caller("ci", "key"), True) == "ci"
    for caller in (ANONYMOUS, Caller("setting-1", "setting")):
        with pytest.raises(ForbiddenError):
            approver_name(caller, True)
