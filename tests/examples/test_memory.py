"""What counts as the story of `make demo-memory`, and the skills that it is about."""

from examples.memory_demo import MemoryDemo
from examples.memory_story import MemoryStory, Occurrence
from seedcore.cognitive.moves.possible_moves import possible_moves
from seedcore.settings import load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures


def story(first: int, second: int, *, memories: int = 3, solved_by: str | None = "equivalent:b") -> MemoryStory:
    return MemoryStory(
        Occurrence("north", tasks=2, runs=first, solved_by="equivalent:b"),
        Occurrence("south", tasks=1, runs=second, solved_by=solved_by, memories=memories),
        ["a text"],
    )


def test_the_story_is_good_only_when_memory_made_the_second_occurrence_quicker():
    assert story(6, 1).problems() == []
    assert story(6, 6).problems() == ["the second took 6 runs, and the first 6"]
    assert story(6, 1, memories=0).problems() == ["the second solution cites no memory"]
    assert story(6, 1, solved_by=None).problems() == ["south: not solved"]
    assert len(story(6, 1, solved_by="person").problems()) == 1


def test_the_skills_of_the_demo_give_a_check_and_two_equivalents():
    skills = signatures(SkillRegistry.load(load_settings(skills="examples.price_skills")).values())
    names = [move.name for move in possible_moves(skills["shop.price"], {"text": "1"}, skills)]
    assert names[2:-1] == [
        "check_before:shop.price_check",
        "equivalent:shop.price_in_cents",
        "equivalent:shop.price_with_comma",
    ]


def test_a_changed_price_is_one_that_the_first_skill_does_not_read():
    demo = MemoryDemo(api=None, say=print)  # type: ignore[arg-type]
    assert demo._changed().count(".") == 2
    assert demo._changed()[-3] == ","
