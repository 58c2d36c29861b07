"""What a host does before its first call: the warm-ups of its organ's skills, each function once."""

from typing import Any

from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import MARK, skill
from seedcore.worker.hosting.warm_ups import warm_ups
from tests.skills.test_skill_decorator import double


async def test_a_host_warms_up_for_its_own_organ_and_runs_what_two_skills_share_once(settings: Settings):
    seen: list[Any] = []

    async def shared(clients: Any) -> None:
        seen.append(clients)

    async def other(clients: Any) -> None:
        raise AssertionError("it is another organ's")

    def declared(name: str, organ: str, warm_up: Any) -> Any:
        async def function(params, context):
            return await double(params, context)

        function.__annotations__ = double.__annotations__
        return getattr(skill(name, organ=organ, warm_up=warm_up)(function), MARK)

    specs = [declared("a.one", "mine", shared), declared("a.two", "mine", shared), declared("a.three", "theirs", other)]
    clients: Any = object()
    steps = warm_ups(SkillRegistry(specs), "mine", clients)
    assert len(steps) == 1
    for step in steps.values():
        await step()
    assert seen == [clients]


def test_hosts_that_predict_find_the_ml_service_first_and_others_need_nothing(settings: Settings):
    registry = SkillRegistry.load(settings)
    assert list(warm_ups(registry, "ml", None)) == ["ml.predict"]
    assert warm_ups(registry, "utility", None) == {}
