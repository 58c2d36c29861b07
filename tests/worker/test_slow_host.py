"""A host becomes ten times slower while tasks flow; dispatcher and decisions are the real ones, and so is time."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from seedcore.decision.policy import parse_policy
from seedcore.skills.host_protocol import Call, Completion
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState
from tests.worker.conftest import World

TASK_S = 0.01
AGENTS = {
    "agents": ["a-0", "a-1", "b-0", "b-1"],
    "hosts": ["a", "b"],
    "host": [0, 0, 1, 1],
    "scouts": [],
    "archived": [],
}
TABLE = {"epoch": 1, "skills": {"echo": "o"}, "timeouts": {}, "organs": {"o": AGENTS}}


class TimedHosts:
    """Agents that do one task after the other, each in the time that its host takes."""

    def __init__(self) -> None:
        self.task_s = {"a": TASK_S, "b": TASK_S}
        self.began: list[tuple[float, str]] = []
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        self.began += [(time.monotonic(), host)] * len(calls)
        for finished in asyncio.as_completed([self._one(host, call) for call in calls]):
            yield [await finished]

    async def _one(self, host: str, call: Call) -> Completion:
        async with self._locks[call.agent]:
            began = time.monotonic()
            await asyncio.sleep(self.task_s[host])
            seconds = time.monotonic() - began
        return Completion(call.task_id, call.token, call.agent, call.skill, True, seconds, result=call.params)

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        return None

    def share(self, host: str, since: float) -> tuple[float, int]:
        """The host's share of the tasks that were sent since then, and how many those were."""
        hosts = [name for at, name in self.began if at >= since]
        return hosts.count(host) / max(1, len(hosts)), len(hosts)


async def test_the_share_of_a_host_that_becomes_ten_times_slower_falls_within_seconds(world: World):
    hosts: Any = TimedHosts()
    state, reports = SnapshotState("test", 1.0), ReportCollector()
    state.fleet.update(TABLE)
    state.policy = parse_policy(b"", "test")
    decider = LocalDecider(world.settings, state, reports, lambda: 0.0)
    async with world.dispatcher(decider, hosts, reports=reports, dispatcher_room=12, claim_batch=4):
        await world.submit(*range(2500))
        async with asyncio.timeout(30):
            while len(hosts.began) < 150:
                await asyncio.sleep(0.02)
            before, _ = hosts.share("b", 0.0)
            hosts.task_s["b"] *= 10
            slowed = time.monotonic()
            while (now := hosts.share("b", time.monotonic() - 1.0))[0] > 0.2 or now[1] < 20:
                await asyncio.sleep(0.05)
    assert 0.35 < before < 0.65
    assert time.monotonic() - slowed < 8
