"""Dead letters over HTTP."""

import httpx
import pytest

from seedcore.tasks import reaping
from tests.api.conftest import TASKS, Dispatcher, refused, submit

pytestmark = pytest.mark.integration
DEAD = "/api/v1/dead"


async def test_a_dead_letter_tells_every_error_and_runs_again(http: httpx.AsyncClient, dispatcher: Dispatcher, app):
    task = await submit(http, 1)
    other = await submit(http, 2)
    await dispatcher.put_off(await dispatcher.lease(), 0)
    async with app.state.gateway.database.connection() as connection:
        assert await reaping.promote(connection) == 1
    leased = {str(lease.id): lease for lease in [await dispatcher.lease(), await dispatcher.lease()]}
    await dispatcher.fail(leased[task["id"]])
    await dispatcher.complete(leased[other["id"]], {"value": 2})

    (letter,) = (await http.get(DEAD)).json()["items"]
    assert (letter["id"], letter["status"]) == (task["id"], "failed")
    assert [(e["attempt"], e["code"]) for e in letter["errors"]] == [(1, "skill_timeout"), (2, "skill_failed")]
    assert (await http.get(DEAD, params={"code": "other"})).json()["items"] == []
    counted = (await http.get(f"{DEAD}/counts")).json()["items"]
    assert [(c["type"], c["code"], c["tasks"]) for c in counted] == [("echo", "skill_failed", 1)]

    answer = await http.post(f"{DEAD}/requeue", json={"code": "skill_failed"})
    assert (answer.status_code, answer.json()) == (202, {"ids": [task["id"]]})
    again = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (again["status"], again["attempts"], again["errors"]) == ("queued", 0, [])
    assert (await http.post(f"{DEAD}/requeue", json={"ids": [task["id"]]})).json() == {"ids": []}


@pytest.mark.parametrize("body", [{}, {"ids": [], "type": "x"}, {"ids": ["x"]}, {"type": "a", "ids": [str(id)]}])
async def test_what_runs_again_must_be_named(http: httpx.AsyncClient, body):
    refused(await http.post(f"{DEAD}/requeue", json=body), 422, "invalid_input")
