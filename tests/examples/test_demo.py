import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from benchmarks import accuracy
from examples import api as api_module
from examples import demo, job, patients
from examples.api import Api, JobError
from seedcore.settings import Settings
from tests.examples.stand_in import Restarting, StandIn


async def outcome(settings: Settings, stand_in: StandIn, transport: Any = None, seconds: float = 60) -> job.Outcome:
    await stand_in.ml.start()
    transport = transport or httpx.ASGITransport(stand_in.app)
    api = Api("http://test", settings, time.monotonic() + seconds, transport=transport)
    return await job.run(api, patients.load(0), None)


def test_a_split_is_stratified_complete_and_the_same_for_the_same_seed():
    one, two, other = patients.load(3), patients.load(3), patients.load(4)
    assert one == two
    assert one.test_rows != other.test_rows
    assert (len(one.train_rows), len(one.test_rows)) == (398, 171)
    assert not {tuple(r) for r in one.train_rows} & {tuple(r) for r in one.test_rows}
    shares = [labels.count("malignant") / len(labels) for labels in (one.train_labels, one.test_labels)]
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


async def test_every_row_is_answered_once_and_judged_by_its_task(settings: Settings):
    found = await outcome(settings, StandIn(settings))
    assert found.good
    assert found.answered == found.rows == 171
    assert found.accuracy > 0.92
    assert (found.p50_ms, found.p99_ms) == (50, 50)
    assert found.routes == {"fast": 171}
    assert found.model == {"name": "breast-cancer", "version": 1}


async def test_accuracy_comes_from_the_results_alone(settings: Settings):
    def wrong(task: dict[str, Any], number: int) -> None:
        if number < 171:
            task["result"]["prediction"] = "benign"

    found = await outcome(settings, StandIn(settings, wrong))
    assert found.accuracy == pytest.approx(107 / 171)


async def test_restarts_lost_answers_and_missing_routes_change_nothing(settings: Settings, monkeypatch):
    monkeypatch.setattr(api_module, "FIRST_PAUSE_S", 0.001)
    stand_in = StandIn(settings)
    transport = Restarting(stand_in.app, every=20)
    found = await outcome(settings, stand_in, transport)
    assert found.good
    assert transport.lost_batches == 1
    assert len(stand_in.tasks) == 171, "the repeated batch made no second tasks"
    assert found.http_retries > 30


async def test_failed_repeated_and_unfinished_tasks_are_told_apart(settings: Settings):
    def spoil(task: dict[str, Any], number: int) -> None:
        if number == 0:
            task.update(status="failed", result=None, ends=["failed"], decision=None)
        if number == 1:
            task["ends"] = ["completed", "completed"]
        if number == 2:
            task.update(status="running", result=None, finished_at=None, ends=[])
        if number == 3:
            task["attempts"] = 2

    stand_in = StandIn(settings, spoil)
    found = await outcome(settings, stand_in, seconds=6)
    ids = list(stand_in.tasks)
    assert not found.good
    assert (found.failed, found.answered_twice, found.unanswered) == ([ids[0]], [ids[1]], [ids[2]])
    assert (found.answered, found.retried) == (169, 1)
    assert found.routes == {"fast": 169, "undecided": 1}
    assert found.correct <= 169
    demo.table(found, 0)


async def test_what_is_refused_for_good_ends_the_job_with_the_servers_words(settings: Settings):
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"detail": "no skill", "code": "invalid_input"})

    api = Api("http://test", settings, time.monotonic() + 5, transport=httpx.MockTransport(refuse))
    with pytest.raises(JobError, match="422 no skill"):
        await api.json("POST", "/api/v1/tasks/batch", {})
    assert api.retries == 0


async def test_the_deadline_ends_the_retries_with_the_last_reason(settings: Settings):
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    told: list[str | None] = []
    api = Api("http://test", settings, time.monotonic() + 0.5, told.append, httpx.MockTransport(down))
    with pytest.raises(JobError, match="ConnectError at http://test"):
        await api.json("GET", "/x")
    assert told
    assert told[0] is not None


@pytest.fixture
def server(starts_server: None, settings: Settings) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = uvicorn.Server(uvicorn.Config(StandIn(settings).app, port=port, log_level="warning"))
    thread = threading.Thread(target=made.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not made.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    made.should_exit = True
    thread.join(10)


def test_the_demo_prints_a_table_and_ends_well(server: str, capsys):
    assert demo.main(["--base-url", server, "--queue", "mine"]) == 0
    printed = capsys.readouterr().out
    for words in ("accuracy", "throughput", "p50", "p99", "fast 171", "answered once"):
        assert words in printed


def test_the_demo_and_the_benchmark_print_json(server: str, capsys, monkeypatch):
    assert demo.main(["--base-url", server, "--split", "1", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["split"], one["good"], one["answered"]) == (1, True, 171)
    monkeypatch.setattr(accuracy, "SPLITS", (1, 2))
    assert accuracy.main(["--base-url", server, "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["splits"][0]["accuracy"] == one["accuracy"]
    assert both["mean_accuracy"] == pytest.approx(sum(s["accuracy"] for s in both["splits"]) / 2)
    monkeypatch.setattr(accuracy, "FLOOR", 0.9999)
    assert accuracy.main(["--base-url", server]) == 1


@pytest.mark.integration
def test_without_a_seedcore_the_demo_says_so_and_fails(capsys, monkeypatch):
    monkeypatch.setattr(demo, "FIRST_CONTACT_S", 0.3)
    assert demo.main(["--base-url", "http://127.0.0.1:9"]) == 1
    assert "make run" in capsys.readouterr().err
