"""A host becomes ten times slower while tasks flow; dispatcher and decisions are the real ones, and so is time."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import TaskBatch
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.model import Lease
from seedcore.worker.ports import Feedback, RouteDecision
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


class DecidingService:
    """The Coordinator's part, in this process."""

    def __init__(self) -> None:
        self.fleet, self.choices = Fleet(), RoutingState(1.0)
        self.fleet.update(TABLE)

    async def decide(self, tasks: Sequence[Lease], feedback: Feedback) -> list[RouteDecision]:
        for (agent, task_type), (count, seconds, good) in feedback.outcomes.items():
            self.fleet.learn(agent, task_type, count, seconds, good)
        outstanding = [(agent, task_type, n) for (agent, task_type), n in feedback.outstanding.items()]
        self.fleet.report("test", outstanding, feedback.undecided)
        answer = decide(TaskBatch.of_types([task.type for task in tasks]), self.fleet, self.choices)
        self.fleet.assign("test", feedback.question, answer.assignments())
        verdicts = [asdict(verdict) for verdict in answer.verdicts]
        return [
            RouteDecision(delta_energy=e, **verdicts[n])
            for n, e in zip(answer.verdict, answer.delta_energy, strict=True)
        ]


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
    decisions: Any = DecidingService()
    async with world.dispatcher(decisions, hosts, dispatcher_room=12, claim_batch=4):
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
