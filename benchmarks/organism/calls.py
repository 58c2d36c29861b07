"""No-op calls on one host: a real Ray actor, called as dispatchers call it."""

import asyncio
import os
import time
from uuid import uuid4

import ray

from benchmarks.organism.figures import Figure
from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control.ray_host_provisioner import RayHostProvisioner
from seedcore.settings import Settings, get_settings
from seedcore.skills.host_protocol import Call
from seedcore.worker.actors.agent_host import AgentHost
from seedcore.worker.actors.ray_adapters import RayHosts

HOST = "seedcore-host-bench-0"
CALLS, BATCH, IN_FLIGHT, AGENTS = 40_000, 500, 3, 1000


def measure(settings: Settings, rounds: int) -> list[Figure]:
    """`echo` on 1,000 agents, in batches of 500, three of them in flight."""
    assert settings.pg_dsn is not None
    os.environ |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "SEEDCORE_PG_DSN": settings.pg_dsn.get_secret_value(),
        "SEEDCORE_DATA_DIR": str(settings.data_dir),
        "SEEDCORE_NS": "bench",
    }
    get_settings.cache_clear()
    ray.init(address="local", namespace="bench", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        return asyncio.run(_measure(rounds))
    finally:
        ray.shutdown()


async def _measure(rounds: int) -> list[Figure]:
    settings = get_settings()
    pool = RayHostProvisioner(settings, AgentHost)
    await pool.ensure(HostPlan(HOST, "bench", OrganSpec(agents=AGENTS, num_cpus=0)))
    hosts = RayHosts(settings)
    try:
        await asyncio.wait_for(pool.handle(HOST).status.remote(), 120)
        await _round(hosts)
        rates = [await _round(hosts) for _ in range(rounds)]
    finally:
        await pool.remove(HOST)
    return [Figure("no-op calls on one host, in batches of 500", "calls/s", rates, 20_000, at_least=True)]


async def _round(hosts: RayHosts) -> float:
    """Calls a second."""
    batches = [[_call(n) for n in range(start, start + BATCH)] for start in range(0, CALLS, BATCH)]
    began = time.perf_counter()

    async def feed() -> int:
        done = 0
        while batches:
            async for chunk in hosts.run(HOST, batches.pop()):
                assert all(completion.ok for completion in chunk)
                done += len(chunk)
        return done

    done = sum(await asyncio.gather(*[feed() for _ in range(IN_FLIGHT)]))
    assert done == CALLS
    return done / (time.perf_counter() - began)


def _call(n: int) -> Call:
    return Call(str(uuid4()), n, 1, "echo", '{"value": 1}', f"bench-{n % AGENTS:04d}", None, f"key-{n}")
