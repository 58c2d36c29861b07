"""What a worker counts: the real dispatcher drives it."""

import asyncio
from collections.abc import Iterator

import pytest

from seedcore.skills.host_protocol import Call, Completion
from seedcore.telemetry.metrics.metric_registry import REGISTRY, MetricDeltas
from seedcore.worker.decisions.route_decision import RouteDecision
from tests.worker.conftest import World
from tests.worker.twins.decider import ScriptedDecider
from tests.worker.twins.host_pool import InMemoryHostPool, bad, good

KEY = ("default", "echo")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    REGISTRY.configure(enabled=True, max_types=64)
    REGISTRY.take()
    yield
    REGISTRY.take()


def counts(taken: MetricDeltas, name: str) -> dict[tuple[str, ...], float]:
    return taken.counts.get(name, {})


def observations(taken: MetricDeltas, name: str) -> dict[tuple[str, ...], int]:
    return {key: int(sum(row[:-1])) for key, row in taken.histograms.get(name, {}).items()}


async def test_a_drain_is_counted_once_for_each_task(world: World) -> None:
    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(good)):
        for task_id in await world.submit(*range(30)):
            await world.until(task_id, "completed")
    taken = REGISTRY.take()
    assert counts(taken, "seedcore_attempts_total") == {(*KEY, "completed"): 30}
    for name in ("wait", "start", "run", "total"):
        assert observations(taken, f"seedcore_task_{name}_seconds") == {KEY: 30}, name
    assert observations(taken, "seedcore_claim_seconds")["default",] >= 1
    assert counts(taken, "seedcore_dead_total") == {}
    assert counts(taken, "seedcore_stale_writes_total") == {}


async def test_attempts_that_fail_are_retried_and_then_dead(world: World) -> None:
    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(bad)):
        (task_id,) = await world.submit(1, max_attempts=3)
        await world.until(task_id, "failed")
    taken = REGISTRY.take()
    assert counts(taken, "seedcore_attempts_total") == {(*KEY, "retried"): 2, (*KEY, "failed"): 1}
    assert counts(taken, "seedcore_dead_total") == {(*KEY, "boom"): 1}
    assert observations(taken, "seedcore_task_wait_seconds") == {KEY: 1}, "only of the first attempt it is known"
    assert observations(taken, "seedcore_task_run_seconds") == {KEY: 3}
    assert observations(taken, "seedcore_task_total_seconds") == {KEY: 1}


async def test_a_cancelled_task_is_a_lost_lease_and_its_end_a_stale_write(memory_world: World) -> None:
    going, let_go = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> Completion:
        going.set()
        await let_go.wait()
        return good(call)

    async with memory_world.dispatcher(ScriptedDecider(), InMemoryHostPool(slow)) as dispatcher:
        (task_id,) = await memory_world.submit(1)
        await asyncio.wait_for(going.wait(), 10)
        held = dispatcher._in_flight.held[task_id]
        dispatcher._on_cancelled(task_id)
        assert counts(REGISTRY.take(), "seedcore_leases_lost_total") == {("cancelled",): 1}
        # Another one has it now: what this one still writes changes nothing.
        dispatcher._in_flight.held[task_id] = held
        held.lease.token -= 1
        dispatcher._batches._endings.retry_or_fail(held, "boom", "it broke", retry=False)
        await dispatcher._writer.flush()
        let_go.set()
    taken = REGISTRY.take()
    assert counts(taken, "seedcore_stale_writes_total") == {("finish",): 1}
    assert counts(taken, "seedcore_attempts_total") == {}


async def test_what_decisions_expected_stands_beside_what_happened(memory_world: World) -> None:
    priced = RouteDecision(
        "fast",
        "default",
        "it is best",
        "utility-0001",
        "host-utility",
        0.1,
        expected_s=0.5,
        expected_failure=0.0,
        v=1.0,
    )
    async with memory_world.dispatcher(ScriptedDecider(lambda _: priced), InMemoryHostPool(good)):
        for task_id in await memory_world.submit(1, 2):
            await memory_world.until(task_id, "completed")
    taken = REGISTRY.take()
    assert counts(taken, "seedcore_energy_expected_seconds_total") == {("echo",): 1.0}
    assert set(counts(taken, "seedcore_energy_realised_seconds_total")) == {("echo",)}
