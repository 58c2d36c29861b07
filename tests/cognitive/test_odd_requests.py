"""Odd input to the six operations, and what callers of a tenant or without payloads may know."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from seedcore.cognitive.service import CognitiveService
from seedcore.memory.long_term.items import NewMemory
from seedcore.settings import Settings
from tests.api import tenants

pytestmark = pytest.mark.integration
HALF, HUGE, ZERO = "\ud800", 10**400, "00000000-0000-0000-0000-000000000000"
PLAN, REASON, DECIDE = "/plan-task", "/reason-about-failure", "/make-decision"
SOLVE, SYNTHESIZE, ASSESS = "/solve-problem", "/synthesize-memory", "/assess-capabilities"
GOAL = {"goal": "summary", "inputs": {"text": "a"}}
OPTION = {"name": "a"}
CHOICE: dict[str, Any] = {"options": [OPTION], "beliefs": {"h": 1}}


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[CognitiveService]:
    made = CognitiveService({}, pg_settings, background=False)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def http(service: CognitiveService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test") as client:
        yield client


async def posted(http: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return await http.post(path, content=text, headers={"content-type": "application/json"})


def nested(levels: int) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = [made]
    return made


COMMON = [
    ("tenant", HALF),
    ("tenant", "A"),
    ("tenant", "a" * 41),
    ("tenant", "\0"),
    ("tenant", 1),
    ("plan_id", "x"),
    ("plan_id", HALF),
    ("plan_id", 1e999),
    ("engine", "gpt"),
    ("engine", HALF),
    ("profile", "slow"),
    ("nothing", 1),
    (HALF, 1),
    ("engine", "llm"),
]
ESCALATION = {"stream": "echo"}
REFUSED: list[tuple[str, dict[str, Any], str, list[Any]]] = [
    (PLAN, GOAL, "goal", ["", " ", [], None, 1, {}, ["a", 1], "x" * 100_000, ["a"] * 10_000]),
    (PLAN, GOAL, "inputs", [1, [], "a"]),
    (PLAN, GOAL, "max_steps", [0, -1, 10**9, HUGE, 1.5, float("nan"), "x"]),
    (PLAN, GOAL, "without", ["a", [1], [""], ["a"] * 1001]),
    (PLAN, GOAL, "done", ["a", [], {"s1": "no.such"}, {"s1": 1}, {"s1": HALF}, {HALF: "\0"}]),
    (
        PLAN,
        GOAL,
        "escalation",
        [
            1,
            "a",
            {},
            {"stream": ""},
            {"stream": 1},
            ESCALATION | {"evidence": 2},
            ESCALATION | {"evidence": float("nan")},
            ESCALATION | {"evidence": float("inf")},
            ESCALATION | {"task_id": "x"},
            {"stream": "\0"},
            {"stream": HALF},
            ESCALATION | {"rule": "\0"},
            ESCALATION | {"tenant": "X"},
            ESCALATION | {"more": 1},
        ],
    ),
    (REASON, {"stream": "echo"}, "window_s", [0, -1, HUGE, float("nan"), float("inf"), 1e9, "x"]),
    (
        REASON,
        {"stream": "echo"},
        "valve",
        [1, {"state": "open", "since_alarm": HUGE}, {"state": "x"}, {"state": "open", "arl0": 0}],
    ),
    (
        REASON,
        {"stream": "echo"},
        "findings",
        [
            1,
            [1],
            [{"name": "a", "points": HUGE, "anomalies": []}],
            [{"name": "a", "points": 0, "anomalies": []}],
            [{"name": "a", "points": 3, "anomalies": [{"index": 0, "score": float("inf")}]}],
        ],
    ),
    (REASON, {}, "task_id", ["x", 1, HALF]),
    (REASON, {}, "stream", ["", 1, "x" * 301]),
    (
        DECIDE,
        CHOICE,
        "options",
        [
            [],
            1,
            [OPTION] * 51,
            [1],
            [{"name": ""}],
            [{"name": "a", "cost": float("nan")}],
            [{"name": "a", "cost": 1e13}],
            [{"name": "a", "losses": {"h": float("inf")}}],
        ],
    ),
    (DECIDE, CHOICE, "beliefs", [{}, 1, {"h": -1}, {"h": float("nan")}, {"h": 1e13}, {"h": 0}]),
    (DECIDE, CHOICE, "facts", [1, {"a": []}, {"a": float("nan")}]),
    (SOLVE, {"problem": "a"}, "problem", ["", " ", 1, None, "x" * 4001]),
    (SOLVE, {"problem": "a"}, "max_steps", [0, -1, 10**9, HUGE]),
    (SYNTHESIZE, {"query": "a"}, "query", ["", " ", 1, None, "x" * 4001, HALF, "\0"]),
    (SYNTHESIZE, {"query": "a"}, "k", [0, -1, 10**9, HUGE, float("nan"), 51]),
    (SYNTHESIZE, {"query": "a"}, "scope", ["x", [HALF], ["a\0"], [""], ["agent:"], ["all"] * 21]),
    (SYNTHESIZE, {"query": "a"}, "tags", ["x", [HALF], ["\0"], [""], ["a"] * 21, ["a" * 65], ["a"] * 17]),
    (SYNTHESIZE, {"query": "a"}, "sentences", [0, -1, 10**9]),
    (ASSESS, {}, "window_s", [0, -1, HUGE, float("nan"), 1e999]),
    (ASSESS, {}, "most", [0, -1, 10**9, HUGE]),
]


async def test_odd_fields_are_refused_by_name(http: httpx.AsyncClient) -> None:
    wrong = []
    for path, good, field, values in REFUSED:
        name = "scopes" if field == "scope" else field
        for value in values:
            answer = await posted(http, path, good | {name: value})
            fields = [e["field"] for e in answer.json().get("errors", [])] if answer.status_code == 422 else []
            if not fields or not fields[0].startswith((field, "(body)")):
                wrong.append((path, name, str(value)[:60], answer.status_code, answer.text[:200]))
    for path, good in (
        (PLAN, GOAL),
        (REASON, {"stream": "e"}),
        (DECIDE, CHOICE),
        (SOLVE, {"problem": "a"}),
        (SYNTHESIZE, {"query": "a"}),
        (ASSESS, {}),
    ):
        for name, value in COMMON:
            answer = await posted(http, path, good | {name: value})
            ok = answer.status_code == 422 or (value == "llm" and answer.status_code == 503)
            if not ok or not answer.json()["errors"]:
                wrong.append((path, name, str(value)[:60], answer.status_code, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


HARD: list[tuple[str, Any]] = [
    (PLAN, GOAL | {"goal": HALF}),
    (PLAN, GOAL | {"goal": "\0"}),
    (PLAN, GOAL | {"inputs": {HALF: HALF}}),
    (PLAN, GOAL | {"inputs": {"text": HALF}}),
    (PLAN, GOAL | {"inputs": {"text": "\0", "a\0": HUGE}}),
    (PLAN, GOAL | {"inputs": {"text": nested(90)}}),
    (PLAN, GOAL | {"inputs": {"n": float("nan"), "text": "a"}}),
    (PLAN, GOAL | {"without": [HALF]}),
    (PLAN, GOAL | {"done": {HALF: "echo"}}),
    (PLAN, {"goal": "echo", "inputs": {"value": HALF}, "escalation": {"stream": HALF}}),
    (PLAN, {"goal": "echo", "inputs": {"value": 1}, "escalation": {"stream": "\0", "rule": "\0", "why": "\0"}}),
    (PLAN, {"goal": "echo", "inputs": {"value": 1}, "escalation": {"stream": "echo", "rule": HALF}}),
    (PLAN, {"goal": "echo", "inputs": {"value": nested(95)}, "escalation": {"stream": "echo", "task_id": ZERO}}),
    (PLAN, {"goal": "echo", "inputs": {"value": HUGE}, "escalation": {"stream": "echo"}}),
    (PLAN, {"goal": "echo", "inputs": {"value": "\0"}, "escalation": {"stream": "a/" * 200 + "echo"}}),
    (PLAN, {"goal": "please summarize " + HALF}),
    (PLAN, {"goal": "(" * 290}),
    (PLAN, {"goal": "- " * 140}),
    (REASON, {"stream": HALF}),
    (REASON, {"stream": "\0"}),
    (REASON, {"task_id": ZERO}),
    (REASON, {"findings": [{"name": HALF, "points": HUGE, "anomalies": [{"index": HUGE, "score": 1e308}]}]}),
    (REASON, {"stream": "e", "valve": {"state": "open", "since_alarm": HUGE, "arl0": 1e308}}),
    (
        REASON,
        {"stream": "e", "model": {"name": HALF, "monitor": "losses", "evidence": 0, "observed": HUGE, "arl0": 1e308}},
    ),
    (DECIDE, CHOICE | {"facts": {"a": HUGE, HALF: HALF}}),
    (DECIDE, {"options": [{"name": HALF}], "beliefs": {HALF: 1e12, "b": 1e-300}}),
    (
        DECIDE,
        {
            "options": [{"name": "a", "requires": [{"fact": "x", "op": "<", "value": HUGE}]}, OPTION | {"name": "b"}],
            "beliefs": {"h": 1},
            "facts": {"x": "a"},
        },
    ),
    (
        DECIDE,
        {
            "options": [{"name": "a", "requires": [{"fact": "x", "op": "<", "value": 1.5}]}, OPTION | {"name": "b"}],
            "beliefs": {"h": 1},
            "facts": {"x": HUGE},
        },
    ),
    (
        DECIDE,
        {
            "options": [{"name": "a", "cost": 1e12, "losses": {"h": -1e12}}, {"name": "b", "cost": 5e-324}],
            "beliefs": {"h": 5e-324},
        },
    ),
    (SOLVE, {"problem": HALF}),
    (SOLVE, {"problem": "\0"}),
    (SOLVE, {"problem": "-(" * 2000}),
    (SOLVE, {"problem": "'\\" * 2000}),
    (SOLVE, {"problem": "summary", "inputs": {"text": HALF, HALF: nested(95), "n": HUGE}}),
    (SYNTHESIZE, {"query": "-(" * 2000}),
    (SYNTHESIZE, {"query": "'\\" * 2000}),
    (SYNTHESIZE, {"query": '"' * 4000}),
]


async def test_nothing_is_too_hard(http: httpx.AsyncClient) -> None:
    wrong = []
    for path, body in HARD:
        answer = await posted(http, path, body)
        if answer.status_code >= 500:
            wrong.append((path, json.dumps(body)[:150], answer.status_code, answer.text[:300]))
    for path in (PLAN, REASON, DECIDE, SOLVE, SYNTHESIZE, ASSESS):
        for body in [
            "",
            "{",
            "[]",
            "1",
            "NaN",
            "[" * 100_000,
            '{"a":' * 50_000,
            '{"inputs": ' + "[" * 900 + "]" * 900 + "}",
        ]:
            answer = await posted(http, path, body)
            if not 400 <= answer.status_code < 500 and not (path == ASSESS and body == ""):
                wrong.append((path, body[:30], answer.status_code, answer.text[:300]))
    assert not wrong, "\n".join(map(str, wrong))


async def remember(service: CognitiveService, text: str, tenant: str) -> None:
    store = service._engines._offline._knowledge._memories
    await store.remember([NewMemory(text, tenant)])


async def test_no_answer_holds_what_another_tenant_remembers(service: CognitiveService) -> None:
    app = service.build_app()
    tenants.install(app)
    for tenant in ("default", "umbra"):
        await remember(service, f"the summary of {tenant} opens the vault at nine", tenant)
    asks: list[tuple[str, dict[str, Any]]] = [
        (SOLVE, {"problem": "the summary opens the vault", "inputs": {"text": "a"}}),
        (SYNTHESIZE, {"query": "the vault opens at nine"}),
        (PLAN, GOAL),
        (PLAN, {"goal": "echo", "inputs": {"value": "the vault"}}),
    ]
    async with tenants.client_of(app, "acme") as acme, tenants.client_of(app, "umbra") as umbra:
        for path, body in asks:
            await posted(umbra, path, body)
            answer = await posted(acme, path, body)
            assert answer.status_code < 500, answer.text
            assert "opens the vault at" not in answer.text
            assert "statistic" not in answer.text, "counts over all tenants"
            for other in ("umbra", "default"):
                assert (await posted(acme, path, body | {"tenant": other})).status_code == 403
                refused = await acme.post(path, json=body, headers={"X-SeedCore-Tenant": other})
                assert refused.status_code == 403
        assert "umbra opens the vault" in (await posted(umbra, SYNTHESIZE, asks[1][1])).text


async def test_escalations_are_not_for_callers_of_a_tenant(service: CognitiveService) -> None:
    app = service.build_app()
    tenants.install(app)
    body = {"goal": "echo", "inputs": {"value": 1}, "escalation": {"stream": "echo"}}
    async with tenants.client_of(app, "acme") as acme, tenants.client_of(app, "platform") as platform:
        for more in ({}, {"tenant": "acme"}, {"task_id": ZERO}):
            answer = await posted(acme, PLAN, body | {"escalation": {"stream": "echo", **more}})
            assert answer.status_code == 403, answer.text
            assert "escalation" in answer.json()["detail"]
        assert (await posted(platform, PLAN, body)).status_code == 200


async def test_a_key_without_payloads_reads_no_memory(service: CognitiveService) -> None:
    app = service.build_app()
    tenants.install(app)
    await remember(service, "the vault of acme opens at nine", "acme")
    async with tenants.client_of(app, "blind") as blind, tenants.client_of(app, "watcher") as watcher:
        for path, body in (
            (SOLVE, {"problem": "the vault opens"}),
            (SYNTHESIZE, {"query": "the vault opens"}),
            (PLAN, {"goal": "tell me when the vault opens"}),
        ):
            for http in (blind, watcher):
                assert (await posted(http, path, body)).status_code == 403
        assert (await posted(blind, PLAN, GOAL)).status_code == 200
        assert (await posted(watcher, ASSESS, {})).status_code == 403
        assert (await posted(watcher, REASON, {"stream": "echo"})).status_code == 200
        assert (await posted(watcher, DECIDE, CHOICE)).status_code == 200
