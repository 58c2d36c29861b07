"""Parses goals: an output field of any skill, a field of one skill, or a skill's whole result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seedcore.errors import FieldError, NoPlanError
from seedcore.skills.signatures import Signature


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: `field` from anywhere, `field` of `skill`, or all of `skill` when there is no field."""

    text: str
    skill: str | None = None
    field: str | None = None


def parse_goals(goal: str | Sequence[str], inputs: Mapping[str, object], skills: Mapping[str, Signature]) -> list[Goal]:
    """The goals by their names. A name that is both a field and a skill means the field.

    Raises:
        NoPlanError: a name is none of these; free text needs a language model.
    """
    texts = [goal] if isinstance(goal, str) else list(goal)
    fields = {name for skill in skills.values() for name in skill.results} | set(inputs)
    return [_parse_goal(text.strip(), fields, skills) for text in dict.fromkeys(texts)]


def _parse_goal(text: str, fields: set[str], skills: Mapping[str, Signature]) -> Goal:
    if text in fields:
        return Goal(text, field=text)
    if text in skills:
        return Goal(text, skill=text)
    skill, _, field = text.rpartition(".")
    if skill in skills and field in skills[skill].results:
        return Goal(text, skill, field)
    known = sorted({name for each in skills.values() for name in each.results})
    hint = "A goal in free text needs a language model: set LLM_PROVIDER, or name fields or skills."
    raise NoPlanError(
        f"{text[:200]!r} names no output field and no skill. {hint} "
        f"Fields: {', '.join(known)}. Skills: {', '.join(sorted(skills))}.",
        errors=[FieldError("goal", "must name an output field, SKILL.FIELD or a skill")],
        known=known,
        missing=[text[:200]],
    )
