"""Whatever JSON a client sends, the gateway answers with no 5xx."""

import asyncio
import json
import math
from datetime import datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seedcore.api.app import build_app
from seedcore.settings import Settings
from seedcore.telemetry.logs import configure_logs
from tests.api.conftest import TASKS

pytestmark = pytest.mark.integration

NAMES = st.sampled_from(["type", "params", "queue", "domain", "priority", "max_attempts", "timeout_s", "run_after"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("echo") | st.just("goal"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEAR_TASKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["echo", "goal"]) | VALUES},
    optional={
        "params": st.fixed_dictionaries({"value": VALUES}) | st.fixed_dictionaries({"goal": VALUES}) | VALUES,
        "queue": st.just("default") | VALUES,
        "domain": VALUES,
        "priority": st.integers(-101, 101) | VALUES,
        "max_attempts": VALUES,
        "timeout_s": VALUES,
        "run_after": st.datetimes().map(datetime.isoformat) | st.text() | VALUES,
        "idempotency_key": st.text(max_size=4) | VALUES,
    },
)


async def test_no_body_whatsoever_is_a_5xx(pg_settings: Settings):
    """Hypothesis wants one event loop for all examples: they run in this one, by hand."""
    configure_logs(pg_settings)
    app = build_app(pg_settings)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    loop = asyncio.get_running_loop()

    @hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(NEAR_TASKS | st.dictionaries(NAMES | st.text(), VALUES, max_size=5) | VALUES)
    @example({"type": "echo", "params": {"value": math.nan}})
    @example({"type": "echo", "params": {"\ud800": 1, "value": "\udfff"}})
    @example({"\ud800": 1})
    @example({"type": "\ud800"})
    @example({"type": "goal", "params": {"goal": "\0", "inputs": {"\0": "\0"}}})
    @example({"type": "echo", "params": {"value": 1}, "timeout_s": 1e-300})
    @example({"type": "echo", "params": {"value": 1}, "run_after": 1e18})
    @example({"type": "echo", "params": {"value": 1}, "run_after": "-4713-01-01T00:00:00Z"})
    def any_body(body: Any) -> None:
        content = json.dumps(body)
        for path, sent in ((TASKS, content), (f"{TASKS}/batch", f'{{"tasks": [{content}]}}')):
            asking = http.post(path, content=sent, headers={"content-type": "application/json"})
            answer = asyncio.run_coroutine_threadsafe(asking, loop).result(30)
            assert answer.status_code < 500, (sent, answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"

    await asyncio.to_thread(any_body)
    listed = await http.get(TASKS, params={"limit": 500})
    assert listed.status_code == 200
    await http.aclose()
    await app.state.gateway.aclose()
