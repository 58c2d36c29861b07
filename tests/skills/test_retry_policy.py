import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import Settings
from seedcore.skills import RetryPolicy, SkillRegistry
from seedcore.skills.host_protocol import Call
from seedcore.skills.registry import specs_of
from seedcore.tasks.submission.validate import Submission
from seedcore.worker.execution.executor import SkillExecutor
from tests.skills import flaky

REGISTRY = SkillRegistry(specs_of(flaky))


def test_a_policy_that_makes_no_sense_is_refused():
    for wrong in ({"base_s": 0}, {"max_s": -1}, {"max_attempts": 0}, {"max_attempts": 101}, {"base_s": 1e9}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            RetryPolicy(**wrong)


def test_a_task_gets_its_skills_attempts_and_lane_unless_it_names_its_own(settings: Settings):
    submission = Submission(settings, REGISTRY)
    task = submission.check({"type": "test.flaky", "params": {"value": 1}})
    assert (task.max_attempts, task.slow) == (7, True)
    assert submission.check({"type": "test.flaky", "params": {"value": 1}, "max_attempts": 2}).max_attempts == 2
    plain = submission.check({"type": "test.plain", "params": {"value": 1}})
    assert (plain.max_attempts, plain.slow) == (settings.max_attempts, False)


@pytest.mark.parametrize(
    ("name", "attempt", "longest"),
    [("test.flaky", 1, 2.0), ("test.flaky", 2, 4.0), ("test.flaky", 6, 10.0), ("test.plain", 1, None)],
)
async def test_a_failed_attempt_says_how_long_its_skill_lets_it_wait(
    settings: Settings, name: str, attempt: int, longest: float | None
):
    executor = SkillExecutor(REGISTRY, settings, AgentRegistry("utility", ["a-1"]))
    call = Call("0198c0de-0000-7000-8000-000000000001", 7, attempt, name, '{"value": 1}', "a-1", None, "k")
    (completion,) = [c async for chunk in executor.run([call]) for c in chunk]
    assert (completion.ok, completion.retryable, completion.retry_within_s) == (False, True, longest)
