"""Many organs in one process: each has its own agents and limits, and none is held up by another."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from seedcore.fleet.host_limits import HostLimits
from seedcore.settings import load_settings
from seedcore.skills import SkillContext, SkillRegistry, skill
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.skill_decorator import MARK
from seedcore.worker.hosting import organ_executors
from seedcore.worker.hosting.organ_executors import OrganExecutors
from seedcore.worker.hosting.organ_terms import OrganTerms


class Value(BaseModel):
    value: Any = None


@skill("echo", organ="quick")
async def echo(params: Value, context: SkillContext) -> Value:
    return params


@skill("wait", organ="slow", timeout_s=60)
async def wait(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(60)
    return params


@skill("hold", organ="threads", timeout_s=0.2)
def hold(params: Value, context: SkillContext) -> Value:
    """Goes on after its time limit, until GO."""
    GO.wait(20)
    return params


GO = threading.Event()
SKILLS = SkillRegistry([getattr(f, MARK) for f in (echo, wait, hold)])
TABLE = {"echo": "quick", "wait": "slow"}


class Running:
    """Executors in this loop, and what has ended."""

    def __init__(self, **changed: Any) -> None:
        self.executors = OrganExecutors(SKILLS, load_settings(**changed), lambda skill: TABLE.get(skill, ""))
        self.done: dict[str, Completion] = {}

    def submit(self, *calls: Call) -> list[Any]:
        return self.executors.submit(calls, lambda completion: self.done.update({completion.task_id: completion}))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.01)

    def agents(self, organ: str) -> dict[str, tuple[int, int]]:
        return {a.id: (a.completed, a.failed) for a in self.executors.agents_of(organ).agents.values()}


def call(name: str, task: str, agent: str = "a-1") -> Call:
    return Call(task, 7, 1, name, json.dumps({"value": task}), agent, None, "key-1")


async def test_a_batch_of_several_organs_is_run_by_each_organs_own_agents():
    running = Running()
    assert running.executors.registries == []
    running.submit(*[call("echo", f"t-{n}", f"quick-{n % 2}") for n in range(10)], call("wait", "w", "slow-1"))
    await running.until(lambda: len(running.done) == 10)
    assert running.agents("quick") == {"quick-0": (5, 0), "quick-1": (5, 0)}
    assert running.agents("slow") == {"slow-1": (0, 0)}
    assert [r.organ for r in running.executors.registries] == ["quick", "slow"]
    assert running.executors.status() == {"running": 1, "lost_slots": 0, "lost_threads": 0, "processes": 0}
    assert running.executors.cancel(["w", "t-1"]) == 1
    await running.until(lambda: "w" in running.done)
    assert running.executors.running == 0


async def test_the_full_slots_of_one_organ_hold_up_no_other():
    running = Running()
    running.executors.set_terms("slow", OrganTerms(HostLimits(host_concurrency=1)))
    running.submit(call("wait", "w-1"), call("wait", "w-2"), call("echo", "t"))
    await running.until(lambda: "t" in running.done)
    await asyncio.sleep(0.05)
    assert [job.call.task_id for job in running.executors.jobs() if job.began] == ["w-1"]
    running.executors.cancel(["w-1", "w-2"])


async def test_changed_limits_hold_for_new_calls_and_agents_keep_what_they_learned(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(organ_executors, "LOOK_S", 0.02)
    running = Running()
    running.executors.set_terms("slow", OrganTerms.of({"host_concurrency": 1}, {"reader": 1.0}))
    agents = running.executors.agents_of("slow")
    first = running.submit(call("wait", "w-1"), call("wait", "w-2"))
    await running.until(lambda: any(job.began for job in first))
    running.executors.set_terms("slow", OrganTerms.of({"host_concurrency": 2, "of_a_later_release": 3}))
    second = running.submit(call("wait", "w-3"), call("wait", "w-4"), call("wait", "w-5"))
    await running.until(lambda: sum(bool(job.began) for job in second) == 2)
    assert [bool(job.began) for job in first] == [True, False], "they go on under the terms that they came with"
    assert running.executors.running == 5
    # An organ whose executor was replaced: each call is cancelled where it is.
    running.executors.withdraw([first[0], second[0]])
    await running.until(lambda: {"w-1", "w-3"} <= set(running.done))
    assert running.executors.cancel(["w-2", "w-4", "w-5"]) == 3
    await running.until(lambda: len(running.executors._all()) == 1)
    assert len(running.done) == 5
    assert running.executors.agents_of("slow") is agents
    assert list(agents.agents) == ["a-1"]


async def test_the_same_terms_again_change_nothing():
    running = Running()
    running.executors.set_terms("quick", OrganTerms.of({"host_threads": 3}))
    running.submit(call("echo", "t-1"))
    before = running.executors._all()
    running.executors.set_terms("quick", OrganTerms.of({"host_threads": 3}))
    running.submit(call("echo", "t-2"))
    running.executors.set_terms("quick", OrganTerms.of({"host_threads": 3}, {"reader": 2.0}))
    running.submit(call("echo", "t-3"))
    assert running.executors._all() == before
    await running.until(lambda: len(running.done) == 3)


async def test_new_roles_hold_for_agents_that_are_active():
    running = Running()
    running.submit(call("echo", "t-1"))
    await running.until(lambda: running.done)
    agents = running.executors.agents_of("quick")
    running.executors.set_terms("quick", OrganTerms.of(None, {"reader": 1.0, "writer": 3.0}))
    agents.mark_restored(["a-1"])
    (row,) = agents.take_changed()
    assert row.roles == {"reader": 0.25, "writer": 0.75}


async def test_a_skill_that_the_routing_table_does_not_know_runs_for_the_organ_that_it_names_itself():
    running = Running(host_threads=1)
    GO.set()
    running.submit(call("hold", "t-1", "threads-1"))
    await running.until(lambda: running.done)
    assert running.agents("threads") == {"threads-1": (1, 0)}


async def test_a_skill_that_nobody_knows_fails_and_no_agent_learns_from_it():
    running = Running()
    running.submit(call("nothing", "t-1"), call("echo", "t-2"))
    failure = running.done["t-1"]
    assert (failure.ok, failure.error_code, failure.retryable) == (False, "not_found", False)
    assert "There is no skill 'nothing'. Known: echo, hold, wait." in (failure.error_message or "")
    await running.until(lambda: "t-2" in running.done)
    assert [r.organ for r in running.executors.registries] == ["quick"]


async def test_an_organ_without_threads_left_is_named(monkeypatch: pytest.MonkeyPatch):
    GO.clear()
    running = Running(host_threads=1)
    running.submit(call("echo", "t-1"), call("hold", "t-2"))
    await running.until(lambda: "t-2" in running.done)
    assert (running.executors.exhausted or "").startswith("organ threads: all 1 threads are lost")
    assert running.executors.status()["lost_threads"] == 1
    GO.set()
    await running.until(lambda: running.executors.exhausted is None)
    running.executors.close()
