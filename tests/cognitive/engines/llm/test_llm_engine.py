"""Free text over HTTP with a scripted model: plans, one round of correction, and the offline engine after that."""

import json
import threading
from typing import Any

import pytest

from seedcore.settings import Settings
from tests.cognitive.engines.llm.worlds import Memories, asking, memory
from tests.support.scripted_model import ModelTurn

pytestmark = pytest.mark.integration

TEXT = "Please summarise the page for me"
INPUTS = {"address": "https://example.org/"}
PLAN = {
    "steps": [
        {"id": "s2", "skill": "text.summarize", "params": {"text": {"$from": "s1", "field": "text"}}},
        {"id": "s1", "skill": "http.fetch", "params": {"url": {"$from": "inputs", "field": "address"}}},
    ],
    "output": {"summary": {"$from": "s2", "field": "summary"}},
    "cites": [],
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**PLAN, **fields}


def user_data(request: dict[str, Any], at: int = 1) -> Any:
    return json.loads(request["messages"][at]["content"])


async def test_a_goal_in_free_text_becomes_a_plan_in_the_order_of_its_needs(pg_settings: Settings):
    async with asking(pg_settings, ModelTurn(PLAN)) as (http, model, _):
        answer = await http.post("/plan-task", json={"goal": TEXT, "inputs": INPUTS})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["engine"], body["model"], body["method"], body["fallback"]) == ("llm", "scripted-1", "model", None)
    assert body["usage"] == {"calls": 1, "input_tokens": 10, "output_tokens": 5, "money": 0}
    assert [(step["id"], step["needs"]) for step in body["steps"]] == [("s1", []), ("s2", ["s1"])]
    shown = user_data(model.requests[0])
    assert shown["inputs"] == [{"is": "string", "param": {"$from": "inputs", "field": "address"}}], "values stay here"
    assert "example.org" not in json.dumps(model.requests[0])


async def test_names_are_searched_for_without_asking_the_model(pg_settings: Settings):
    async with asking(pg_settings, ModelTurn(PLAN)) as (http, model, _):
        body = (await http.post("/plan-task", json={"goal": "summary", "inputs": {"text": "a"}})).json()
    assert (body["engine"], body["method"], model.requests) == ("offline", "search", [])


async def test_the_model_plans_names_where_it_is_asked_to(pg_settings: Settings):
    asked = {"goal": "summary", "inputs": INPUTS, "engine": "llm", "profile": "deep"}
    async with asking(pg_settings, ModelTurn(PLAN)) as (http, _, _):
        body = (await http.post("/plan-task", json=asked)).json()
    assert (body["engine"], len(body["steps"])) == ("llm", 2)


async def test_an_invalid_plan_goes_back_once_with_the_errors(pg_settings: Settings):
    wrong = changed(steps=[{"id": "s1", "skill": "no.such", "params": {}}])
    async with asking(pg_settings, ModelTurn(wrong), ModelTurn(PLAN)) as (http, model, _):
        body = (await http.post("/plan-task", json={"goal": TEXT, "inputs": INPUTS})).json()
    assert (body["engine"], body["usage"]["calls"]) == ("llm", 2)
    assert "there is no skill 'no.such'" in user_data(model.requests[1], -1)["refused"]


CYCLE = changed(
    steps=[
        {"id": "a", "skill": "text.summarize", "params": {"text": {"$from": "b", "field": "summary"}}},
        {"id": "b", "skill": "text.summarize", "params": {"text": {"$from": "a", "field": "summary"}}},
    ],
    output={"summary": {"$from": "b", "field": "summary"}},
)
BAD = {
    "nonsense": ModelTurn("colourless green ideas sleep furiously"),
    "half a JSON": ModelTurn(json.dumps(PLAN)[:80]),
    "a cycle": ModelTurn(CYCLE),
    "the same tool call for ever": ModelTurn(tool_calls=[("lookup", {"q": "again"})]),
    "an empty answer": ModelTurn(""),
    "unknown fields": ModelTurn(changed(policy={"hold": []})),
    "no output": ModelTurn(changed(output={})),
    "a step that nothing uses": ModelTurn(
        changed(steps=[*PLAN["steps"], {"id": "s3", "skill": "echo", "params": {"value": 1}}])
    ),
    "too many steps": ModelTurn(
        changed(steps=[{"id": f"s{n}", "skill": "echo", "params": {"value": 1}} for n in range(60)])
    ),
    "a citation of nothing": ModelTurn(changed(cites=["no-such-id"])),
    "not the protocol": ModelTurn(raw=b"<html>it works</html>"),
    "a text that PostgreSQL cannot keep": ModelTurn(
        changed(
            steps=[{"id": "s1", "skill": "text.summarize", "params": {"text": "a\0b"}}],
            output={"summary": {"$from": "s1", "field": "summary"}},
        )
    ),
    "refused": ModelTurn("no", status=400),
    "down": ModelTurn("no", status=503),
    "ten megabytes": ModelTurn(changed(cites=["x" * 10_000_000])),
}


async def test_whatever_a_model_answers_the_offline_engine_does_and_says_why(pg_settings: Settings):
    asked = {"goal": TEXT, "inputs": {"text": "A page."}}
    async with asking(pg_settings, ModelTurn()) as (http, model, _):
        for count, (name, turn) in enumerate(BAD.items(), 1):
            model.turns, before = [turn], len(model.requests)
            answer = await http.post("/plan-task", json=asked)
            assert answer.status_code == 200, (name, answer.text)
            body = answer.json()
            assert (body["engine"], [step["skill"] for step in body["steps"]]) == ("offline", ["text.summarize"]), name
            assert body["fallback"]["code"] in ("invalid_answer", "llm_refused", "unavailable"), (name, body)
            assert body["fallback"]["reason"], name
            assert len(model.requests) - before <= 2, f"{name}: one round of correction, and no more"
            assert sum((await http.get("/health")).json()["engines"]["fallbacks"].values()) == count


async def test_a_goal_that_neither_engine_can_plan_says_both_reasons(pg_settings: Settings):
    async with asking(pg_settings, ModelTurn("nonsense")) as (http, _, _):
        answer = await http.post("/plan-task", json={"goal": "Sing me a song!", "inputs": {}})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_plan")
    assert "refused twice" in answer.json()["detail"]
    assert answer.json()["fallback"] == {"code": "invalid_answer"}


async def test_a_model_that_does_not_answer_in_time_is_left(pg_settings: Settings):
    slow = ModelTurn(PLAN, wait=threading.Event())
    asked = {"goal": TEXT, "inputs": {"text": "A page."}}
    async with asking(pg_settings, slow, cognitive_llm_timeout_s=0.5) as (http, _, _):
        body = (await http.post("/plan-task", json=asked)).json()
    assert (body["engine"], body["fallback"]["code"]) == ("offline", "deadline_exceeded")


async def test_a_past_plan_for_the_same_wish_is_planned_again(pg_settings: Settings):
    past = memory(
        "Plan for 'Boil this down': http.fetch → text.summarize. It completed.",
        "plan",
        0.9,
        status="completed",
        skills=["http.fetch", "text.summarize"],
    )
    memories = Memories()
    memories.found = [past]
    asked = {"goal": "Boil it all down", "inputs": {"url": "https://example.org/"}}
    async with asking(pg_settings, ModelTurn("nonsense"), memories=memories) as (http, _, _):
        body = (await http.post("/plan-task", json=asked)).json()
    assert (body["engine"], body["method"]) == ("offline", "past_plan")
    assert [step["skill"] for step in body["steps"]] == ["http.fetch", "text.summarize"]
    assert body["evidence"][0]["id"] == str(past.id)


async def test_a_budget_that_is_used_up_stops_before_the_call(pg_settings: Settings):
    async with asking(pg_settings, ModelTurn(PLAN), llm_budget_day_tokens=10) as (http, model, _):
        answer = await http.post("/plan-task", json={"goal": "Sing me a song!", "inputs": {}})
    assert (answer.status_code, answer.json()["code"]) == (429, "budget_exceeded")
    assert model.requests == []


async def test_memory_is_said_in_statements_that_cite_it(pg_settings: Settings):
    memories = Memories("The pump was cleaned.", "The valve was open.")
    one, two = (str(found.id) for found in memories.found)
    wrong = {"statements": [{"text": "All is well.", "cites": ["made-up"]}]}
    right = {"statements": [{"text": "The pump was cleaned while the valve was open.", "cites": [one, two]}]}
    async with asking(pg_settings, ModelTurn(wrong), ModelTurn(right), memories=memories) as (http, _, _):
        body = (await http.post("/synthesize-memory", json={"query": "the pump", "tenant": "acme"})).json()
    assert (body["engine"], body["statements"][0]["cites"]) == ("llm", [one, two])
    assert [item["id"] for item in body["evidence"]] == [one, two]
    assert memories.tenants == ["acme"]


async def test_a_problem_gets_an_answer_and_a_plan(pg_settings: Settings):
    drafted = {"answer": "Fetch and summarise it.", **PLAN}
    async with asking(pg_settings, ModelTurn(drafted)) as (http, _, _):
        body = (await http.post("/solve-problem", json={"problem": TEXT, "inputs": INPUTS})).json()
    assert (body["engine"], body["answer"]) == ("llm", "Fetch and summarise it.")
    assert [step["skill"] for step in body["plan"]["steps"]] == ["http.fetch", "text.summarize"]


async def test_advice_and_explanations_change_no_number(pg_settings: Settings):
    options = [
        {"name": "wait", "cost": 1},
        {"name": "act", "cost": 2},
        {"name": "never", "requires": [{"fact": "x", "op": "==", "value": 1}]},
    ]
    asked = {"options": options, "beliefs": {"chance": 1}, "engine": "llm"}
    turns = [
        ModelTurn({"option": "never", "advice": "Do it anyway."}),
        ModelTurn({"option": "act", "advice": "I would act."}),
    ]
    async with asking(pg_settings, *turns) as (http, _, _):
        body = (await http.post("/make-decision", json=asked)).json()
    assert (body["engine"], body["decision"], body["advised"]) == ("llm", "wait", "act")
    finding = {"name": "latency", "points": 20, "anomalies": [{"index": 9, "score": 11.0, "chance": 1e-6}]}
    turn = ModelTurn({"likely": "incident:latency", "explanation": "It jumped at point 9."})
    async with asking(pg_settings, turn) as (http, _, _):
        body = (await http.post("/reason-about-failure", json={"findings": [finding], "engine": "llm"})).json()
    assert (body["engine"], body["likely"]) == ("llm", "incident:latency"), body
    assert body["hypotheses"][0]["numbers"]["points"] == 20
