import pytest

from seedcore.errors import SeedCoreError
from seedcore.settings import Settings, load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.free_text import is_free_text
from seedcore.tasks.submission.validate import Submission

REGISTRY = SkillRegistry.load(load_settings())
SKILLS = signatures(REGISTRY.values())


@pytest.mark.parametrize("goal", ["summary", "text.keywords.keywords", "http.fetch", "no.such", "mis-spelt", "my text"])
def test_names_are_no_free_text(goal: str):
    assert not is_free_text(goal, {"my text": 1}, SKILLS)


@pytest.mark.parametrize("goal", ["Summarise this page", "résumé", "請總結這個頁面", "why?", "a\0b", "\ud800"])
def test_what_is_no_name_is_free_text(goal: str):
    assert is_free_text(goal, {}, SKILLS)
    assert is_free_text([goal], {}, SKILLS)
    assert not is_free_text([goal, "summary"], {}, SKILLS)


def test_free_text_is_refused_at_submission_where_no_model_reads_it(settings: Settings):
    task = {"type": "goal", "params": {"goal": "Summarise this page", "inputs": {"url": "https://example.org/"}}}
    with pytest.raises(SeedCoreError) as caught:
        Submission(settings, REGISTRY).check(task)
    assert (caught.value.code, caught.value.status) == ("llm_not_configured", 422)
    assert caught.value.errors[0].field == "params.goal"
    model = {"llm_provider": "vllm", "llm_upstream_url": "http://127.0.0.1:9/v1"}
    with_model = load_settings(data_dir=settings.data_dir, **model)
    assert Submission(with_model, REGISTRY).check(task).type == "goal"


@pytest.mark.integration
async def test_a_batch_whose_only_fault_is_free_text_says_that_no_model_is_set_up(pg_settings: Settings):
    unread = {"type": "goal", "params": {"goal": "Summarise this page", "inputs": {"url": "https://example.org/"}}}
    wrong = {"type": "echo", "params": {"value": 1}, "priority": "high"}
    database = Database(pg_settings)
    submission = Submission(pg_settings, REGISTRY)
    try:
        async with database.connection() as connection:
            for batch, code in (([unread, unread], "llm_not_configured"), ([unread, wrong], "invalid_input")):
                with pytest.raises(SeedCoreError) as caught:
                    await submission.many(connection, batch)
                assert (caught.value.code, caught.value.status) == (code, 422)
                assert caught.value.errors[0].field == "tasks.0.params.goal"
                assert len(caught.value.errors) == 2
    finally:
        await database.aclose()
