"""A trace from where a task was submitted to what its skill called, as a collector sees it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from seedcore.settings import Settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call
from seedcore.skills.registry import specs_of
from seedcore.tasks.model import Lease, new_id
from seedcore.telemetry.logs import configure_logs
from seedcore.telemetry.metrics.metric_registry import REGISTRY
from seedcore.telemetry.traces import trace_setup, tracing
from seedcore.telemetry.traces.trace_context import submit_span_id
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.hosting.organ_executors import NO_TERMS
from seedcore.worker.hosting.skill_host import SkillHost
from tests.support.otlp_collector import CollectedSpan, OtlpCollector, otlp_collector, trace_text
from tests.worker.conftest import World
from tests.worker.measuring import skills_that_ask
from tests.worker.twins.decider import ScriptedDecider
from tests.worker.twins.host_pool import InMemoryHostPool, good

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HERE = RouteDecision("fast", "known_skill", "the cheapest of 3", agent="test-0001", host="w-0", delta_energy=0.5)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with otlp_collector() as running:
        yield running


@pytest.fixture
def traced(pg_world: World, collector: OtlpCollector) -> Iterator[World]:
    """The world, in a process that sends its traces to the collector."""
    changed = {
        "otel_traces_exporter": "otlp",
        "otel_exporter_otlp_traces_endpoint": None,
        "otel_bsp_schedule_delay": 50,
    }
    pg_world.settings = pg_world.settings.model_copy(update=changed)
    pg_world.settings = Settings.model_validate(
        {**pg_world.settings.model_dump(), "otel_exporter_otlp_endpoint": collector.url}
    )
    trace_setup.configure_traces(pg_world.settings, "w-0")
    yield pg_world
    tracing.use(None)


@asynccontextmanager
async def worker(
    world: World, monkeypatch: pytest.MonkeyPatch, decide: Callable[[Lease], RouteDecision] | RouteDecision = HERE
) -> AsyncIterator[None]:
    """A dispatcher and its skills, in this process; processes of skills have the same settings."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    registry = SkillRegistry(specs_of(skills_that_ask))
    host = SkillHost("w-0", world.settings, registry, None, lambda _skill: "test", organs={"test": NO_TERMS})  # type: ignore[arg-type]
    host.start()
    try:
        async with world.dispatcher(ScriptedDecider(decide), InMemoryHostPool(good), local=host):
            yield
    finally:
        await host.drain(5)
        await host.close()


async def enqueue(world: World, skill: str, value: Any = "why", **options: Any) -> UUID:
    """As an application does in SQL."""
    async with world.database.connection() as connection:
        found: UUID = await connection.fetchval(
            "select seedcore.enqueue($1, $2::jsonb, $3::jsonb)",
            skill,
            json.dumps({"value": value}),
            json.dumps(options),
        )
        return found


def tree(spans: list[CollectedSpan]) -> dict[str, str]:
    """The name of the span above each; `caller` where it did not arrive."""
    names = {span.id: span.name for span in spans}
    return {span.name: names.get(span.parent, "caller" if span.parent else "") for span in spans}


async def test_a_trace_begins_in_sql_and_ends_in_the_skills_model_call(
    traced: World, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async with worker(traced, monkeypatch):
        task_id = await enqueue(traced, "test.ask", traceparent=CALLER)
        await traced.until(task_id, "completed")
        spans = await asyncio.to_thread(
            collector.until, "run test.ask", "submit test.ask", "decide", "chat small-1", trace=CALLER[3:35]
        )
    with capsys.disabled():
        print(f"\n{trace_text(spans, SHOWN)}")
    assert tree(spans) == {
        "submit test.ask": "caller",
        "wait (queue)": "submit test.ask",
        "decide": "submit test.ask",
        "run test.ask": "submit test.ask",
        "read the question": "run test.ask",
        "chat small-1": "run test.ask",
        "a span of the skill's own": "run test.ask",
    }
    by_name = {span.name: span for span in spans}
    assert by_name["submit test.ask"].parent == CALLER[36:52]
    decided = by_name["decide"].attributes
    facts = ("route", "rule", "agent", "delta_energy", "worker", "host")
    assert [decided[f"seedcore.{name}"] for name in facts] == ["fast", "known_skill", "test-0001", 0.5, "test", "w-0"]
    assert by_name["chat small-1"].attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small-1",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 5,
        "seedcore.usage.money": 0.25,
    }
    assert by_name["run test.ask"].attributes["seedcore.usage.tokens"] == 17
    assert by_name["read the question"].attributes == {"length": 3, "words": 1, "note": "password=***"}
    order = [by_name[name] for name in ("submit test.ask", "wait (queue)", "decide", "run test.ask", "chat small-1")]
    assert [span.begin for span in order] == sorted(span.begin for span in order)
    run, chat = by_name["run test.ask"], by_name["chat small-1"]
    assert run.begin <= chat.begin <= chat.end <= run.end
    assert run.resource["service.instance.id"]


SHOWN = (
    "seedcore.wait.reason",
    "seedcore.route",
    "seedcore.rule",
    "seedcore.agent",
    "seedcore.delta_energy",
    "seedcore.host",
    "seedcore.attempt",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "seedcore.usage.money",
)


async def test_a_task_without_a_caller_is_the_root_of_a_trace_of_its_own_id(
    traced: World, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
):
    async with worker(traced, monkeypatch):
        task_id = await enqueue(traced, "test.ask_in_thread")
        await traced.until(task_id, "completed")
        spans = await asyncio.to_thread(collector.until, "run test.ask_in_thread", "decide", trace=task_id.hex)
    assert tree(spans)["submit test.ask_in_thread"] == ""
    assert tree(spans)["chat small-1"] == tree(spans)["in a thread of its own"] == "run test.ask_in_thread"


async def test_spans_and_counts_of_a_skill_in_a_process_come_back_with_its_answer(
    traced: World, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
):
    REGISTRY.take()
    async with worker(traced, monkeypatch):
        task_id = await enqueue(traced, "test.ask_in_process", traceparent=CALLER)
        record = await traced.until(task_id, "completed")
        spans = await asyncio.to_thread(collector.until, "run test.ask_in_process", "decide", trace=CALLER[3:35])
    assert record.result["trace"] == CALLER[3:35]
    assert tree(spans)["chat small-1"] == tree(spans)["a span of the skill's own"] == "run test.ask_in_process"
    assert await counted(traced, "seedcore_model_tokens_total") == {("small-1", "input"): 3, ("small-1", "output"): 4}
    assert await counted(traced, "seedcore_model_calls_total") == {("small-1", "ok"): 1}


async def counted(world: World, metric: str) -> dict[tuple[str, str], float]:
    """What hosts have exported of a metric of models, once there is some."""
    statement = "select labels, value from seedcore.metric_series where name = $1"
    async with asyncio.timeout(20), world.database.connection() as connection:
        while not (rows := await connection.fetch(statement, metric)):
            await asyncio.sleep(0.05)
    found = [(json.loads(row["labels"]), row["value"]) for row in rows]
    return {(labels["model"], labels.get("direction") or labels["outcome"]): value for labels, value in found}


async def test_an_attempt_that_fails_shows_why_and_how_long_the_next_one_waits(
    traced: World, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
):
    async with worker(traced, monkeypatch):
        task_id = await enqueue(traced, "test.break", "again", max_attempts=2)
        await traced.until(task_id, "failed")
        spans = await asyncio.to_thread(collector.until, "submit test.break", "wait (retry)", trace=task_id.hex)
        tracing.flush(10)
        spans = [span for span in collector.spans if span.trace == task_id.hex]
    runs = [span for span in spans if span.name == "run test.break"]
    assert [run.attributes["seedcore.attempt"] for run in runs] == [1, 2]
    assert {run.attributes["error.type"] for run in runs} == {"skill_failed"}
    assert all("hunter2" not in (run.failed or "") and "no answer" in (run.failed or "") for run in runs)
    assert len({run.id for run in runs}) == 2
    assert [span.name for span in spans].count("submit test.break") == 1
    pause = next(span for span in spans if span.name == "wait (retry)")
    assert pause.begin >= runs[0].end - 1_000_000
    assert next(span for span in spans if span.name == "chat small-1").attributes["error.type"] == "SkillError"


async def test_a_caller_who_does_not_record_costs_no_span_and_the_log_still_names_the_trace(
    traced: World, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
):
    log = io.StringIO()
    configure_logs(traced.settings, stream=log)
    async with worker(traced, monkeypatch):
        task_id = await enqueue(traced, "test.ask", traceparent=f"{CALLER[:-2]}00")
        await traced.until(task_id, "completed")
        tracing.flush(10)
    assert collector.spans == []
    line = next(line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "answered")
    named = {key: line[key] for key in ("task", "trace", "tenant", "skill", "attempt")}
    assert named == {
        "task": str(task_id),
        "trace": CALLER[3:35],
        "tenant": "default",
        "skill": "test.ask",
        "attempt": 1,
    }


async def test_a_task_that_is_held_shows_the_decision_and_one_that_was_put_off_why_it_waited(
    traced: World, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
):
    hold = RouteDecision("hold", "four_eyes", "a person decides")
    async with worker(traced, monkeypatch, lambda lease: HERE if lease.approved else hold):
        async with traced.database.connection() as connection:
            later = await connection.fetchval("select (now() + interval '300 milliseconds')::text")
        task_id = await enqueue(traced, "test.ask", run_after=later)
        await traced.until(task_id, "approval")
        await traced.engine.approve(task_id)
        await traced.until(task_id, "completed")
        spans = await asyncio.to_thread(collector.until, "run test.ask", trace=task_id.hex)
        tracing.flush(10)
        spans = [span for span in collector.spans if span.trace == task_id.hex]
    names = [span.name for span in spans]
    assert (names.count("submit test.ask"), names.count("decide")) == (1, 2)
    put_off = next(span for span in spans if span.name == "wait (deferred)")
    assert 200e6 < put_off.end - put_off.begin < 400e6
    assert [s.attributes["seedcore.route"] for s in spans if s.name == "decide"] == ["hold", "fast"]


def test_a_step_is_below_its_plans_task_in_every_process():
    parent = new_id()
    call = Call(
        str(new_id()),
        1,
        1,
        "echo",
        "{}",
        "a",
        None,
        "k",
        traceparent=f"00-{parent.hex}-{submit_span_id(parent.int):016x}-01",
    )
    assert call.trace_id == parent.hex
