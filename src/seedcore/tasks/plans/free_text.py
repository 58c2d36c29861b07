"""Goals in free text: what a language model must read, because it is no name of a field or a skill."""

import re
from collections.abc import Container, Mapping, Sequence

from seedcore.skills.signatures import Signature

_NAME = re.compile(r"[\w.:\-]+", re.ASCII)


def is_free_text(goal: str | Sequence[str], inputs: Container[str], skills: Mapping[str, Signature]) -> bool:
    """Whether a goal is a text for a language model: neither a name that is known nor one that might be misspelt.

    Args:
        goal: one goal or several; several are names.
        inputs: names of what is given.
        skills: the skills by name.
    """
    if not isinstance(goal, str):
        return len(goal) == 1 and is_free_text(goal[0], inputs, skills)
    text = goal.strip()
    if _NAME.fullmatch(text) or text in inputs or text in skills:
        return False
    skill, _, name = text.rpartition(".")
    return not any(text in each.results for each in skills.values()) and name not in getattr(
        skills.get(skill), "results", ()
    )
