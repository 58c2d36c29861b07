"""Real work on a whole SeedCore: the demo, goals, SQL, and kills in the middle of it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from benchmarks.faults import TARGETS
from benchmarks.system import System
from tests.e2e import skills_that_call
from tests.e2e.stream import Stream
from tests.support.otlp_collector import CollectedSpan, OtlpCollector, otlp_collector, trace_text

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(300)]


ACME = Path(__file__).parents[2] / "examples" / "acme_skills"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpCollector]:
    with otlp_collector() as running:
        yield running


@pytest.fixture(scope="module")
def system(collector: OtlpCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """SeedCore with the example package's skills and organs; traces are recorded where the caller's is."""
    path = os.pathsep.join([str(ACME / "src"), str(Path(__file__).parent)])
    skills = "acme_skills,skills_for_people,skills_that_call,skills_that_lead"
    organs = tmp_path_factory.mktemp("organs") / "organs.yaml"
    organs.write_text((ACME / "organs.yaml").read_text() + skills_that_call.ORGAN)
    traces = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with System(PYTHONPATH=path, SEEDCORE_SKILLS=skills, SEEDCORE_ORGANS_PATH=str(organs), **traces) as running:
        yield running


def post(system: System, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(system.url + path, json=body, timeout=60)


def until_ended(system: System, task_id: str, timeout_s: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while (task := system.get(f"/api/v1/tasks/{task_id}"))["finished_at"] is None:
        assert time.monotonic() < deadline, task
        time.sleep(0.02)
    return task


def demo(system: System) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "examples.demo", "--base-url", system.url, "--json", "--timeout", "120"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_demo_answers_every_patient_once(system: System):
    running = demo(system)
    out, err = running.communicate(timeout=150)
    assert running.returncode == 0, err
    found = json.loads(out)
    assert found["accuracy"] >= 0.9
    assert found["routes"] == {"fast": found["rows"]}


def test_the_example_packages_skills_answer_as_its_readme_says(system: System):
    _, ask, expected = re.findall(r"```\n(.*?)```", (ACME / "README.md").read_text(), re.DOTALL)
    bodies = [json.loads(body) for body in re.findall(r"-d '(.*)'", ask)]
    ended = [post(system, "/pipeline/route-and-execute", body).json() for body in bodies]
    assert [task["result"] for task in ended] == [json.loads(line) for line in expected.splitlines()]
    assert {task["decision"]["agent"].split("-")[0] for task in ended} == {"billing"}


def test_a_follower_of_the_state_sees_a_task_come_and_go(system: System):
    with httpx.Client(base_url=system.url, timeout=30) as client, client.stream("GET", "/state/stream") as stream:
        told = _told(stream)
        kind, snapshot = next(told)
        assert kind == "snapshot"
        done = snapshot["organs"].get("utility", {"completed": 0})["completed"]
        until_ended(system, post(system, "/api/v1/tasks", {"type": "echo", "params": {"value": 1}}).json()["id"])
        deltas = []
        while not any(d.get("organs", {}).get("utility", {}).get("completed") == done + 1 for d in deltas):
            kind, delta = next(told)
            assert kind == "delta"
            deltas.append(delta)
        changed = {agent for delta in deltas for agent in delta.get("agents", {})}
        state = system.get("/state/unified-state")
        assert changed <= set(state["agents"])
        assert state["system"]["cluster"]["nodes"] == 1


def _told(stream: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in stream.iter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def test_a_goal_is_planned_and_its_steps_are_tasks(system: System):
    text = "Ray runs agents. Agents run skills. Skills do real work, and real work is what users want from agents."
    goal = {"type": "goal", "params": {"goal": ["summary", "keywords"], "inputs": {"text": text}}}
    answer = post(system, "/api/v1/tasks", goal)
    assert answer.status_code == 201, answer.text
    task = until_ended(system, answer.json()["id"])
    assert task["status"] == "completed", task["error"]
    assert task["decision"]["route"] == "plan"
    assert set(task["result"]) == {"summary", "keywords"}
    steps = system.get(f"/api/v1/tasks/{task['id']}/plan")["steps"]
    assert {step["type"] for step in steps} == {"text.summarize", "text.keywords"}
    assert all(step["status"] == "completed" and step["parent_id"] == task["id"] for step in steps)


def test_the_sixth_goal_of_a_kind_runs_the_recipe_of_those_before(system: System):
    goal = {
        "type": "goal",
        "params": {"goal": "keywords", "inputs": {"text": "Agents run skills."}, "budget": {"steps": 2}},
    }
    ended = [until_ended(system, post(system, "/api/v1/tasks", goal).json()["id"]) for _ in range(6)]
    assert [task["status"] for task in ended] == ["completed"] * 6
    assert [task["decision"]["rule"] for task in ended] == ["goal"] * 5 + ["recipe"]
    plan = system.get(f"/api/v1/tasks/{ended[-1]['id']}/plan")
    assert (plan["budget"]["steps"], plan["spent"]["steps"], plan["recipe"]) == (2, 1, True)
    recipe = system.get("/pipeline/recipes")["items"][0]
    assert (recipe["goal"], recipe["inputs"], recipe["runs"]) == ("keywords", {"text": "string"}, 1)


def test_a_task_that_needs_approval_runs_when_somebody_released_it(system: System):
    task_id = post(system, "/api/v1/tasks", {"type": "people.pay", "params": {"amount": 2.5}}).json()["id"]
    deadline = time.monotonic() + 60
    while (task := system.get(f"/api/v1/tasks/{task_id}"))["status"] != "approval":
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    assert (task["decision"]["rule"], task["attempts"]) == ("skill_approval", 0)
    command = [sys.executable, "-m", "seedcore.cli.main", "approve", task_id]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    task = until_ended(system, task_id)
    assert (task["status"], task["result"], task["attempts"]) == ("completed", {"amount": 2.5}, 1)


def test_a_goal_that_nothing_reaches_fails_and_names_what_is_missing(system: System):
    answer = post(system, "/api/v1/tasks", {"type": "goal", "params": {"goal": "teleport", "inputs": {"text": "x"}}})
    task = until_ended(system, answer.json()["id"])
    assert (task["status"], task["error"]["code"], task["attempts"]) == ("failed", "no_plan", 1)
    assert "teleport" in task["error"]["message"]


def test_route_and_execute_answers_with_the_ended_task(system: System):
    answer = post(system, "/pipeline/route-and-execute", {"type": "echo", "params": {"value": {"a": [1, None]}}})
    assert (answer.status_code, answer.json()["result"]) == (200, {"value": {"a": [1, None]}})


def test_a_task_from_sql_runs_like_any_other(system: System):
    with psycopg.connect(dsn(system)) as connection:
        (task_id,) = connection.execute("""select seedcore.enqueue('echo', '{"value": "from SQL"}')""").fetchone()
    assert until_ended(system, str(task_id))["result"] == {"value": "from SQL"}


def traceparent(trace: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}


def tree(spans: list[CollectedSpan]) -> dict[str, tuple[str, str]]:
    """By the name of each span: what it is below, and in which process it was made."""
    names = {span.id: span.name for span in spans}
    made_by = {span.name: str(span.resource["service.instance.id"]) for span in spans}
    print(trace_text(spans, ("seedcore.host",)))
    return {span.name: (names.get(span.parent, "the caller"), made_by[span.name]) for span in spans}


def test_a_trace_goes_from_http_and_from_sql_through_all_processes_to_the_model_call(
    system: System, collector: OtlpCollector
):
    by_http, by_sql = "4bf92f3577b34da6a3ce929d0e0e4736", "5bf92f3577b34da6a3ce929d0e0e4736"
    ask = {"type": "models.ask", "params": {"question": "why?"}}
    answer = httpx.post(f"{system.url}/api/v1/tasks", json=ask, headers=traceparent(by_http), timeout=60)
    with psycopg.connect(dsn(system)) as connection:
        sql = "select seedcore.enqueue('models.ask', '{\"question\": \"how?\"}', %s::text::jsonb)"
        (second,) = connection.execute(sql, (json.dumps(traceparent(by_sql)),)).fetchone()
    for task_id, trace in ((answer.json()["id"], by_http), (str(second), by_sql)):
        task = until_ended(system, task_id)
        assert (task["status"], task["trace_id"]) == ("completed", trace)
    below = {
        "submit models.ask": "the caller",
        "wait (queue)": "submit models.ask",
        "decide": "submit models.ask",
        "run models.ask": "submit models.ask",
        "chat small-1": "run models.ask",
    }
    found = tree(collector.until(*below, trace=by_sql))
    assert {name: above for name, (above, _) in found.items()} == below
    found = tree(collector.until("accept tasks", *below, trace=by_http))
    above = {"accept tasks": "the caller"} | below | {"submit models.ask": "accept tasks"}
    assert {name: above for name, (above, _) in found.items()} == above
    makers = {name: re.sub(r"-\d+$", "", maker) for name, (_, maker) in found.items()}
    assert makers["accept tasks"] == "gateway"
    assert makers["submit models.ask"] == makers["decide"] == "seedcore-dispatcher"
    assert makers["run models.ask"] == makers["chat small-1"] == "seedcore-host-models"


def test_a_plans_steps_are_in_the_trace_of_their_task(system: System, collector: OtlpCollector):
    trace = "6bf92f3577b34da6a3ce929d0e0e4736"
    goal = {"type": "goal", "params": {"goal": ["summary", "keywords"], "inputs": {"text": "Agents run skills."}}}
    answer = httpx.post(f"{system.url}/api/v1/tasks", json=goal, headers=traceparent(trace), timeout=60)
    assert until_ended(system, answer.json()["id"])["status"] == "completed"
    steps = ("text.keywords", "text.summarize")
    names = [f"{span} {step}" for span in ("submit", "run") for step in steps]
    found = tree(collector.until("submit goal", *names, trace=trace))
    for step in steps:
        assert found[f"submit {step}"][0] == "submit goal"
        assert found[f"run {step}"][0] == f"submit {step}"


def test_a_tenants_key_sees_its_own_work_and_is_refused_once_it_is_revoked(system: System):
    made = {name: httpx.post(f"{system.url}/api/v1/keys", json=key, timeout=30).json()["key"] for name, key in KEYS}
    with httpx.Client(base_url=system.url, headers={"X-API-Key": made["shop"]}, timeout=30) as shop:
        others = post(system, "/api/v1/tasks", {"type": "echo", "params": {"value": 1}}).json()["id"]
        own = shop.post("/api/v1/tasks", json={"type": "models.ask", "params": {"question": "who?"}}).json()
        assert own["tenant"] == "shop"
        assert until_ended(system, own["id"])["status"] == "completed"
        assert [task["id"] for task in shop.get("/api/v1/tasks").json()["items"]] == [own["id"]]
        assert shop.get(f"/api/v1/tasks/{others}").status_code == 404
        assert shop.get("/metrics").json()["code"] == "platform_only"
        assert shop.get("/ml/xgboost/list_models").status_code == 200
    applications = ("/api/v1/queue", "/ml/xgboost/list_models", "/pipeline/valve", "/state/unified-state")
    with httpx.Client(base_url=system.url, headers={"X-API-Key": made["watch"]}, timeout=30) as watch:
        assert {watch.get(path).status_code for path in applications} == {200}
        assert httpx.delete(f"{system.url}/api/v1/keys/watch", timeout=30).status_code == 204
        revoked = time.monotonic()
        while {watch.get(path).status_code for path in applications} != {401}:
            assert time.monotonic() < revoked + 1.5
    audit = system.get("/api/v1/audit?action=DELETE%20/api/v1/keys/%7Bname%7D")["items"]
    assert [(row["target"], row["status"], row["source"]) for row in audit] == [("watch", 204, "127.0.0.1")]
    written = [path.read_text(errors="replace") for path in (system.data_dir / "logs").iterdir()] + [system.output()]
    assert any("the model has answered" in text for text in written)
    assert not [key for key in made.values() if any(key in text for text in written)]


KEYS = [
    ("shop", {"name": "shop", "scopes": ["read", "submit"], "tenant": "shop"}),
    ("watch", {"name": "watch", "scopes": ["read"]}),
]


def test_what_models_were_asked_is_in_the_metrics(system: System):
    """After the tests above, which asked three times."""
    wanted = {
        'seedcore_attempts_total{queue="default",type="models.ask",outcome="completed"}': 3,
        'seedcore_task_total_seconds_count{queue="default",type="models.ask"}': 3,
        'seedcore_model_tokens_total{model="small-1",direction="input"}': 36,
        'seedcore_model_money_total{model="small-1"}': 0.75,
        'seedcore_queue_depth{queue="default",state="ready"}': 0,
    }
    deadline = time.monotonic() + 10
    while True:
        lines = httpx.get(f"{system.url}/metrics", timeout=30).text.splitlines()
        found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name in wanted}
        if found == wanted:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_work_that_changes_for_good_is_planned_then_done_by_a_recipe_and_the_valve_closes(system: System):
    stream = Stream(system, "readings.fahrenheit")
    stream.send(1_050, "celsius", 20.0)
    stream.until(lambda told: told["state"] == "closed")
    same = stream.ended(stream.send(200, "celsius", 20.0)[-50:])
    assert {task["decision"]["route"] for task in same} == {"fast"}
    assert {task["decision"]["rule"] for task in same} <= {"known_skill", "exploration"}
    before = stream.until_observed(1_250)["work"]
    assert before["alarms"] == 0

    # From now on they come in kelvin, which this skill does not take.
    changed: list[str] = []
    while stream.valve()["state"] != "open":
        assert len(changed) < 100, stream.valve()
        changed += stream.send(5, "kelvin", 293.15)
        stream.until_observed(before["observed"] + len(changed))
    assert stream.valve()["work"]["opened_at"] - before["observed"] <= 50
    deadline = time.monotonic() + 20
    while stream.ended(stream.send(1, "kelvin", 293.15))[0]["decision"]["rule"] in ("known_skill", "exploration"):
        assert time.monotonic() < deadline, "the workers do not hear of the valve"
    planned = stream.ended(stream.send(40, "kelvin", 293.15))
    assert {task["status"] for task in planned} == {"completed"}
    assert 20 <= (planned[-1]["result"]["fahrenheit"] - 32) / 1.8 <= 25
    assert {task["decision"]["rule"] for task in planned} <= {"valve_open", "recipe"}
    assert planned[-1]["decision"]["rule"] == "recipe"

    stream.send(1_050, "kelvin", 293.15)
    after = stream.until(lambda told: told["work"]["adopted"] == 1)
    assert after["work"]["state"] == "closed"
    (last,) = stream.ended(stream.send(1, "kelvin", 293.15))
    assert (last["status"], last["decision"]["route"], last["decision"]["rule"]) == ("completed", "fast", "recipe")


def test_the_first_question_to_the_graph_starts_it_and_its_own_workers_answer(system: System):
    post(system, "/pipeline/route-and-execute", {"type": "echo", "params": {"value": 1}})
    params = {"query": "blast_radius", "skill": "echo"}
    asked = post(system, "/api/v1/tasks", {"type": "graph.query", "params": params}).json()
    assert asked["queue"] == "graph"
    task = until_ended(system, asked["id"], 100)
    assert (task["status"], task["error"]) == ("completed", None)
    assert task["decision"]["agent"].startswith("graph-")
    found = task["result"]["found"]
    assert found["organs"][0]["organ"] == "utility"
    assert sum(agent["tasks"] for agent in found["agents"]) >= 1
    assert system.get("/api/v1/health")["graph"]["status"] in ("in_sync", "behind")


def test_the_graph_queue_has_dispatchers_of_its_own(system: System):
    answer = post(system, "/api/v1/tasks", {"type": "echo", "params": {"value": 1}, "queue": "graph"})
    assert until_ended(system, answer.json()["id"])["status"] == "completed"


def test_state_and_energy_tell_what_was_measured(system: System):
    post(system, "/pipeline/route-and-execute", {"type": "echo", "params": {"value": 1}})
    deadline = time.monotonic() + 10
    while True:
        state = system.get("/state/unified-state")
        if any("echo" in agent["rates"] for agent in state["agents"].values()):
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    goal = {"type": "goal", "params": {"goal": "keywords", "inputs": {"text": "Agents run skills."}}}
    until_ended(system, post(system, "/api/v1/tasks", goal).json()["id"])
    deadline = time.monotonic() + 20
    while "collaboration" not in (live := post(system, "/energy/compute-energy", {}).json())["breakdown"]:
        assert time.monotonic() < deadline, live["absent"]
        time.sleep(0.2)
    assert live["source"] == "live"
    assert ("drift" in live["breakdown"]) != ("drift" in live["absent"]), "no stream has a valve before 1,000 tasks"
    given = post(system, "/energy/compute-energy", {"unified_state": {"agents": {"a": {"queued_s": 3.0}}}}).json()
    assert (given["source"], given["energy"]) == ("given", 4.5)
    assert sum(given["breakdown"].values()) == given["energy"]
    assert 1 <= state["organs"]["utility"]["agents"] <= 8, "agents that have had work"


def test_the_bootstrap_changes_nothing_when_it_runs_again(system: System):
    before = {p.pid for p in system.find("ray::WorkerActor") + system.find("ray::AgentHost")}
    done = subprocess.run(
        [sys.executable, "-m", "bootstraps.bootstrap_entry"],
        env={**system.environment, "SEEDCORE_BOOTSTRAP_TIMEOUT_S": "60"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "canary completed" in done.stderr
    assert {p.pid for p in system.find("ray::WorkerActor") + system.find("ray::AgentHost")} == before


@pytest.mark.parametrize("killed", ["worker", "Coordinator replica", "HAProxy", "PostgreSQL"])
def test_the_demo_ends_well_although_every_process_of_a_kind_is_killed(system: System, killed: str):
    running = demo(system)
    newest = system.get("/api/v1/tasks?limit=1")["items"][0]["id"]
    while system.get("/api/v1/tasks?limit=1")["items"][0]["id"] == newest and running.poll() is None:
        time.sleep(0.005)
    killed_ones = 0
    while not killed_ones:
        for target in system.find(*TARGETS[killed]):
            # HAProxy may have been replaced since: a reload starts another process.
            with contextlib.suppress(ProcessLookupError):
                os.kill(target.pid, signal.SIGKILL)
                killed_ones += 1
    out, err = running.communicate(timeout=150)
    assert running.returncode == 0, f"{err}\n{out}"
    system.wait_healthy(90)


def dsn(system: System) -> str:
    """The embedded server's, which runs: asking for it starts nothing."""
    from seedcore.settings import load_settings
    from seedcore.stores.postgres import resolve_dsn

    return resolve_dsn(load_settings(data_dir=system.data_dir))


def test_a_skill_that_ends_its_processes_runs_alone_until_a_person_releases_it(system: System):
    """What it takes with it runs again, other workers go on, and afterwards it disturbs nobody."""
    deadly = {"type": "people.deadly", "params": {"die": True}, "max_attempts": 6}
    task_id = post(system, "/api/v1/tasks", deadly).json()["id"]
    deadline = time.monotonic() + 120
    while "people.deadly" not in (health := system.get("/organism/health"))["quarantined"]:
        assert time.monotonic() < deadline, (health, system.get(f"/api/v1/tasks/{task_id}"))
        echo = post(system, "/pipeline/route-and-execute", {"type": "echo", "params": {"value": 1}}).json()
        assert (echo["status"], echo["result"]) == ("completed", {"value": 1}), echo
    (entry,) = system.get("/organism/quarantine")["items"]
    assert (entry["skill"], entry["deaths"] >= 3) == ("people.deadly", True)
    assert until_ended(system, task_id, 120)["status"] == "failed"
    workers = {p.pid for p in system.find("ray::WorkerActor")}
    alone = post(system, "/api/v1/tasks", {"type": "people.deadly", "params": {"die": False}}).json()["id"]
    ended = until_ended(system, alone, 120)
    assert ended["status"] == "completed", ended
    assert ended["decision"]["agent"].startswith("~alone-people-deadly")
    assert {p.pid for p in system.find("ray::WorkerActor")} == workers, "it has a host of its own"
    released = httpx.post(f"{system.url}/organism/quarantine/people.deadly/release", timeout=60)
    assert released.status_code == 200, released.text
    while not (
        again := until_ended(system, post(system, "/api/v1/tasks", deadly | {"params": {"die": False}}).json()["id"])
    )["decision"]["agent"].startswith("utility"):
        assert time.monotonic() < deadline + 60, again


def test_a_triage_asks_every_service_and_reasoning_knows_the_valve(system: System):
    task_id = post(system, "/api/v1/tasks", {"type": "echo", "params": {"value": 1}}).json()["id"]
    until_ended(system, task_id)
    series = [float(n % 5) for n in range(60)]
    series[30] = 90.0
    answer = post(system, "/pipeline/anomaly-triage", {"stream": "echo", "data": series, "dry_run": True})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [a["index"] for a in body["findings"]["data"]["anomalies"]] == [30]
    assert (body["decision"]["method"], body["status"]) == ("expected_loss", "decided")
    assert system.get(f"/pipeline/triage/{body['id']}") == body
    reasons = post(system, "/cognitive/reason-about-failure", {"stream": "echo"}).json()
    assert reasons["tasks"] >= 1
    assert "valve" in reasons["absent"]["work_changed"]
    assert "did not report" not in reasons["absent"]["work_changed"]
