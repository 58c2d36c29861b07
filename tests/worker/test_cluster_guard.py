"""Nothing is claimed while the cluster's control is away, and claiming goes on by itself when it is back."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from ray._private.services import GCS_SERVER_EXECUTABLE, serialize_config

from seedcore.utils.ray_probe import ProbeStatus
from seedcore.worker import cluster_guard, in_flight
from seedcore.worker.actors.ray_adapters import RayCluster
from seedcore.worker.decisions.route_decision import RouteDecision
from tests.support.ray_head import HOST, free_ports, isolated_env
from tests.worker.conftest import World
from tests.worker.twins.decider import ScriptedDecider
from tests.worker.twins.host_pool import InMemoryHostPool, good

NODE = "ab" * 28


class ScriptedCluster:
    """Answers as the test says."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self.asked = 0

    async def silence(self) -> str | None:
        self.asked += 1
        if self.reason == "broken":
            raise OSError("no such host")
        return self.reason


async def until(what: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not what():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("reason", ["silent", "broken"])
async def test_nothing_is_claimed_until_the_cluster_answers(world: World, monkeypatch: pytest.MonkeyPatch, reason: str):
    monkeypatch.setattr(cluster_guard, "CHECK_EVERY_S", 0.05)
    cluster = ScriptedCluster(reason)
    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(good), cluster=cluster) as dispatcher:
        (before,) = await world.submit(1)
        await until(lambda: cluster.asked > 5)
        assert (await world.task(before)).status == "queued"
        assert dispatcher.status()["claims"] == 0
        assert dispatcher.status()["cluster_silent"] == ("silent" if reason == "silent" else "OSError: no such host")
        cluster.reason = None
        assert (await world.until(before, "completed", timeout_s=10)).attempts == 1
        assert dispatcher.status()["cluster_silent"] is None
        cluster.reason = "silent again"
        await until(lambda: dispatcher.status()["cluster_silent"] == "silent again")
        (during,) = await world.submit(2)
        asked = cluster.asked
        await until(lambda: cluster.asked > asked + 5)
        assert (await world.task(during)).status == "queued"
        assert await world.events(during) == ["submitted"]


@pytest.fixture
def gcs(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Ray's own GCS, the process that dies with a head, and where it listens."""
    (port,) = free_ports(1)
    command = [GCS_SERVER_EXECUTABLE, f"--log_dir={tmp_path}", f"--session-dir={tmp_path}", "--session-name=test"]
    command += [f"--gcs_server_port={port}", f"--node-ip-address={HOST}", f"--node-id={NODE}"]
    command += ["--metrics-agent-port=0", f"--config_list={serialize_config({})}"]
    with (tmp_path / "gcs.log").open("wb") as log:
        process = subprocess.Popen(command, env=isolated_env(), stdout=log, stderr=log)
        try:
            yield f"{HOST}:{port}", process
        finally:
            process.kill()
            process.wait(10)


@pytest.mark.integration
async def test_a_dispatcher_that_outlives_its_gcs_claims_nothing(
    pg_world: World, monkeypatch: pytest.MonkeyPatch, gcs: tuple[str, subprocess.Popen[bytes]]
):
    monkeypatch.setattr(cluster_guard, "CHECK_EVERY_S", 0.1)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    address, process = gcs
    async with pg_world.dispatcher(
        ScriptedDecider(), InMemoryHostPool(good), cluster=RayCluster(address, None)
    ) as dispatcher:
        (before,) = await pg_world.submit(1)
        await pg_world.until(before, "completed")
        process.kill()
        await until(lambda: dispatcher.status()["cluster_silent"] is not None)
        claims = dispatcher.status()["claims"]
        tasks = await pg_world.submit(*range(10))
        # Some looks, and some polls.
        await asyncio.sleep(0.5)
        assert f"{address} is unreachable" in dispatcher.status()["cluster_silent"]
        assert dispatcher.status()["claims"] == claims
    for task_id in tasks:
        record = await pg_world.task(task_id)
        assert (str(record.status), record.attempts) == ("queued", 0)


@pytest.mark.integration
async def test_a_gcs_that_does_not_know_the_node_is_another_clusters(
    monkeypatch: pytest.MonkeyPatch, gcs: tuple[str, subprocess.Popen[bytes]]
):
    """A head that was started again at the same address."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    address, _ = gcs
    async with asyncio.timeout(20):
        while await RayCluster(address, None).silence() is not None:
            await asyncio.sleep(0.1)
    assert (
        f"{address} is {ProbeStatus.MISMATCH}: it knows no living node {NODE}"
        == await RayCluster(address, NODE).silence()
    )


async def test_a_task_that_was_held_for_long_says_that_it_begins_before_it_does(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """So that a lost dispatcher's task that does not say so is known not to have begun."""
    monkeypatch.setattr(in_flight, "UNANNOUNCED_S", 0.1)
    seen: list[list[str]] = []
    decisions, real = ScriptedDecider(), ScriptedDecider().decide

    def decide(tasks: Any) -> list[RouteDecision]:
        time.sleep(0.3)
        return real(tasks)

    async def behave(call: Any) -> Any:
        seen.append(await world.events(UUID(call.task_id)))
        return good(call)

    decisions.decide = decide  # type: ignore[method-assign]
    async with world.dispatcher(decisions, InMemoryHostPool(behave)):
        (task_id,) = await world.submit(1)
        await world.until(task_id, "completed")
    assert [events.count("started") for events in seen] == [1]
    assert (await world.events(task_id)).count("started") == 1
