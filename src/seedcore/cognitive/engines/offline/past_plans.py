"""Plans of the past that a text reads like, as goals that the planner plans again with the inputs of today."""

from collections.abc import Mapping, Sequence

from seedcore.memory.long_term.items import FoundMemory
from seedcore.skills.signatures import Signature

ALIKE = 0.6
"""Cosine similarity of two texts from which a past goal counts as the same wish."""


def goals_of_past_plans(
    memories: Sequence[FoundMemory], skills: Mapping[str, Signature]
) -> list[tuple[FoundMemory, list[str]]]:
    """For each memory of a plan that completed and reads alike: the skills whose results no other of its steps took."""
    found = []
    for memory in memories:
        used = memory.metadata.get("skills")
        if memory.source != "plan" or memory.metadata.get("status") != "completed" or not isinstance(used, list):
            continue
        if memory.scores.get("vector", 0.0) < ALIKE or not used or not all(name in skills for name in used):
            continue
        names = list(dict.fromkeys(map(str, used)))
        taken = {param for name in names for param in skills[name].params}
        last = [name for name in names if not taken & skills[name].results.keys()] or names[-1:]
        found.append((memory, last))
    return found
