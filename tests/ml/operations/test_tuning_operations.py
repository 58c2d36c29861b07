import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4
from xml.etree import ElementTree

import httpx
import pytest

from seedcore.ml.service import MLService
from seedcore.ml.tuning.trial_log import write_trials
from seedcore.ml.tuning.trial_plot import draw_trials
from seedcore.ml.tuning.trial_record import TrialRecord
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import commands, queries
from seedcore.web.access.caller import Caller
from tests.ml.support import flowers, started_service

TUNE, SUBMIT = "/xgboost/tune", "/xgboost/tune/submit"


@pytest.fixture(scope="module", autouse=True)
def plots_are_drawn() -> None:
    """The first plot of a process imports matplotlib, which may take longer than a request has here."""
    draw_trials([], "logloss", None, "the first")


@pytest.fixture
async def tuner(pg_settings: Settings) -> AsyncIterator[MLService]:
    async with started_service(pg_settings.model_copy(update={"request_timeout_s": 1.5})) as service:
        yield service


@pytest.fixture
def client(tuner: MLService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(tuner.build_app()), base_url="http://test")


def body(**more: Any) -> dict[str, Any]:
    return {"name": "flowers", **flowers(), "space": "quick", "trials": 4, **more}


async def submitted(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post(SUBMIT, json=body(**more))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def test_a_job_is_a_task_of_the_limit_that_jobs_share(client: httpx.AsyncClient, tuner: MLService):
    job = await submitted(client, metric="accuracy", time_limit_s=100)
    async with tuner.parts.database.connection() as connection:
        task = await queries.get(connection, UUID(job))
    assert (task.type, task.status, task.limit_key, task.tenant) == ("ml.tune", "queued", "ml-jobs", "default")
    assert task.timeout_s == 100 + tuner.settings.tune_wait_s + 1800
    assert task.params == body(metric="accuracy", time_limit_s=100)


async def test_a_search_that_does_not_end_in_time_is_a_504_with_its_job(client: httpx.AsyncClient):
    answer = await client.post(TUNE, json=body())
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    status = (await client.get(f"/xgboost/tune/status/{answer.json()['job_id']}")).json()
    assert (status["status"], status["progress"]["done"], status["progress"]["total"]) == ("queued", 0, 4)


async def test_the_status_shows_trials_from_the_table_and_marks_the_best(client: httpx.AsyncClient, tuner: MLService):
    job = await submitted(client)
    trials = [
        TrialRecord("0001", {"max_depth": 3, "learning_rate": 0.1}, "completed", ((7, 0.5), (60, 0.2))),
        TrialRecord("0002", {"max_depth": 4, "learning_rate": 0.2}, "pruned", ((7, 0.9),)),
        TrialRecord("0003", {"max_depth": 5, "learning_rate": 0.2}, "running"),
    ]
    async with tuner.parts.database.connection() as connection:
        await write_trials(connection, UUID(job), trials)
    status = (await client.get(f"/xgboost/tune/status/{job}")).json()
    assert [(t["trial"], t["status"], t["best"]) for t in status["trials"]] == [
        ("0001", "completed", True),
        ("0002", "pruned", False),
        ("0003", "running", False),
    ]
    best = {"trial": "0001", "score": 0.2, "rounds": 60, "params": {"max_depth": 3, "learning_rate": 0.1}}
    assert status["progress"] == {"done": 2, "total": 4, "best": best, "note": None}
    (listed,) = (await client.get("/xgboost/tune/jobs")).json()["jobs"]
    assert (listed["job_id"], listed["name"], listed["progress"]["done"]) == (job, "flowers", 2)

    plot = await client.get(f"/xgboost/tune/status/{job}", params={"format": "svg"})
    assert plot.headers["content-type"].startswith("image/svg+xml")
    named = {element.get("id") for element in ElementTree.fromstring(plot.text).iter()}
    assert {"trial-0001", "trial-0002", "best"} <= named
    assert "trial-0003" not in named, "a trial without a report has no line"
    assert (await client.get(f"/xgboost/tune/status/{job}", params={"format": "png"})).status_code == 422


async def test_trials_of_a_cancelled_job_run_no_longer(client: httpx.AsyncClient, tuner: MLService):
    job = await submitted(client)
    async with tuner.parts.database.connection() as connection:
        await write_trials(connection, UUID(job), [TrialRecord("0001", {"max_depth": 3}, "running", ((7, 0.5),))])
        await commands.cancel(connection, UUID(job))
    status = (await client.get(f"/xgboost/tune/status/{job}")).json()
    assert (status["status"], status["trials"][0]["status"], status["progress"]["done"]) == ("cancelled", "stopped", 0)
    plot = await client.get(f"/xgboost/tune/status/{job}", params={"format": "svg"})
    assert "stopped with the job" in plot.text


async def test_jobs_of_other_tenants_and_other_tasks_are_not_found(client: httpx.AsyncClient, tuner: MLService):
    job = await submitted(client)
    other = Caller("o", "key", tenant="other")
    from seedcore.errors import NotFoundError

    with pytest.raises(NotFoundError):
        await tuner.tuning.status(UUID(job), other)
    train = await client.post("/xgboost/train/submit", json={"name": "f", **flowers()})
    assert (await client.get(f"/xgboost/tune/status/{train.json()['job_id']}")).status_code == 404
    assert (await client.get(f"/xgboost/tune/status/{uuid4()}")).status_code == 404
    assert (await client.get("/xgboost/tune/status/7")).status_code == 422


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"space": "everything"}, "space"),
    ({"space": {"max_depth": {"type": "int", "low": 1, "high": 99}}}, "space.max_depth.high"),
    ({"effort": "much"}, "effort"),
    ({"params": {"n_estimators": 5}}, "params.n_estimators"),
    ({"params": {"gamma": -1}}, "params.gamma"),
    ({"metric": "rmse"}, "metric"),
    ({"trials": 0}, "trials"),
    ({"time_limit_s": "soon"}, "time_limit_s"),
    ({"early_stopping_rounds": 5}, "early_stopping_rounds"),
    ({"label_column": "colour"}, "label_column"),
    ({"folds": 3}, "folds"),
]


async def test_what_is_wrong_is_refused_before_there_is_a_task(client: httpx.AsyncClient):
    for path in (TUNE, SUBMIT):
        for more, field in WRONG:
            answer = await client.post(path, json=body(**more))
            assert answer.status_code == 422, answer.text
            assert field in [error["field"] for error in answer.json()["errors"]]
    assert (await client.get("/xgboost/tune/jobs")).json() == {"jobs": []}


async def test_names_of_other_releases_are_understood(client: httpx.AsyncClient):
    given = body(space_type="conservative", config_type="quick_test", experiment_name="flowers")
    job = await client.post(SUBMIT, json={k: v for k, v in given.items() if k not in ("space", "name", "trials")})
    status = (await client.get(f"/xgboost/tune/status/{job.json()['job_id']}")).json()
    assert (status["name"], status["progress"]["total"]) == ("flowers", 10)
    twice = await client.post(SUBMIT, json=body(space_type="wide"))
    assert twice.status_code == 422
    assert "space_type" in twice.text


async def test_rows_that_do_not_fit_into_a_task_are_to_be_uploaded(client: httpx.AsyncClient):
    answer = await client.post(SUBMIT, json=body(**flowers(n=9000)))
    assert answer.status_code == 413
    assert "PUT /ml/datasets/" in answer.json()["detail"]


@pytest.mark.parametrize("package", ["optuna", "pandas"])
async def test_without_the_extra_it_says_what_to_install(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, package: str
):
    monkeypatch.setitem(sys.modules, package, None)
    answer = await client.post(SUBMIT, json=body())
    assert (answer.status_code, answer.json()["code"]) == (503, "not_configured")
    assert f"{package}: `pip install 'seedcore[tune]'`" in answer.json()["detail"]


async def test_without_matplotlib_there_is_a_status_and_no_plot(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    job = await submitted(client)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert (await client.get(f"/xgboost/tune/status/{job}")).status_code == 200
    answer = await client.get(f"/xgboost/tune/status/{job}", params={"format": "svg"})
    assert (answer.status_code, answer.json()["code"]) == (503, "not_configured")


def test_a_service_that_starts_imports_nothing_of_a_search():
    import subprocess

    code = (
        "import sys, seedcore.ml.service, seedcore.ml.skills\n"
        "print([m for m in ('optuna', 'matplotlib', 'ray.tune') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.strip() == "[]"


async def test_trials_that_are_older_than_dead_tasks_are_kept_go(pg_settings: Settings):
    from seedcore.ml.tuning.trial_log import forget_old_trials, trials_of

    database, old, new = Database(pg_settings), uuid4(), uuid4()
    async with database.connection() as connection:
        for job in (old, new):
            await write_trials(connection, job, [TrialRecord("0001", {}, "pruned")])
        await connection.execute(
            "update seedcore.tuning_trials set updated_at = now() - interval '40 days' where job_id = $1", old
        )
        await forget_old_trials(connection, 30)
        assert (await trials_of(connection, old), len(await trials_of(connection, new))) == ([], 1)
    await database.aclose()
