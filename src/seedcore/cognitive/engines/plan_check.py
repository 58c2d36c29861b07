"""The check that a plan of either engine must pass before it is an answer."""

import re
from collections.abc import Iterator, Mapping, Sequence

import orjson

from seedcore.errors import FieldError, InvalidInputError
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.plan import FROM, PlanDefinition, is_reference, validate_plan
from seedcore.utils.pg_json import unfit

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,30}:(?://|[^\s/:]+@)[^\s\"'<>]+", re.IGNORECASE)
AUTHORITY = re.compile(r"[a-z][a-z0-9+.-]{1,30}://[^/?#]*@[^\s/?#]*", re.IGNORECASE)
"""Of an address: what stands before the last `@` may be anything, quotes and spaces as well, and is no host."""
MAX_PLAN_BYTES = 256 * 1024


def check_plan(
    plan: PlanDefinition,
    skills: Mapping[str, Signature],
    *,
    max_steps: int,
    said: str = "",
    without: Sequence[str] = (),
    done: Mapping[str, str] | None = None,
) -> None:
    """Check a plan.

    Beside what `validate_plan` asks for: no step runs a skill that is ruled out; each step leads to the output, or to
    nothing at all (a skill without result); and an address in a literal stands in what the asker `said` or in an input.
    The last two keep texts that an engine read (memory, pages) from adding steps and from sending data elsewhere.

    Raises:
        InvalidInputError: names every step and field that is wrong.
    """
    wrong: list[FieldError] = []
    try:
        validate_plan(plan, skills, max_steps=max_steps, done=done)
    except InvalidInputError as error:
        wrong += error.errors
    ids = {step.id for step in plan.steps} | set(done or {})
    needed = {value[FROM] for value in plan.output.values() if is_reference(value)}
    for step in reversed(plan.steps):
        skill = skills.get(step.skill)
        if step.id in needed or (skill is not None and not skill.results):
            needed |= set(step.needs)
    known = "\n".join([said, *_texts(list(plan.inputs.values()))])
    for i, step in enumerate(plan.steps):
        if step.skill in without:
            wrong.append(FieldError(f"steps.{i}.skill", f"{step.skill} may not be used here"))
        skill = skills.get(step.skill)
        if skill is not None and skill.results and step.id not in needed:
            wrong.append(FieldError(f"steps.{i}", f"nothing of {step.id!r} is used"))
        for name, value in step.params.items():
            for address in _addresses(value):
                if not _stands_in(address, known):
                    message = f"{address[:200]!r} stands neither in the goal nor in the inputs"
                    wrong.append(FieldError(f"steps.{i}.params.{name}", message))
    if not plan.output and not any(skills[s.skill].results == {} for s in plan.steps if s.skill in skills):
        wrong.append(FieldError("output", f"name what is wanted, by {{{FROM}: one of {sorted(ids)}, field}}"))
    wrong += _unstorable(plan)
    if wrong:
        raise InvalidInputError.for_fields(wrong)


def _unstorable(plan: PlanDefinition) -> Iterator[FieldError]:
    try:
        text = orjson.dumps([[step.id, step.skill, step.params] for step in plan.steps])
    except (TypeError, ValueError, RecursionError) as error:
        yield FieldError("steps", f"cannot be written as JSON: {error}")
        return
    if len(text) > MAX_PLAN_BYTES:
        yield FieldError("steps", f"{len(text)} bytes, at most {MAX_PLAN_BYTES} are allowed")
    elif (reason := unfit(text.decode())) is not None:
        yield FieldError("steps", reason)


def _addresses(value: object) -> Iterator[str]:
    for text in _texts(value):
        yield from (found.group() for kind in (ADDRESS, AUTHORITY) for found in kind.finditer(text))


def _stands_in(address: str, known: str) -> bool:
    """Whether an address stands in a text: `https://a.org` does not stand in `https://a.org.evil.net`."""
    if re.search(r"//[^/?#]*[/?#]", address):
        return address in known
    return re.search(re.escape(address) + r"(?![\w%@:-]|\.\w)", known) is not None


def _texts(value: object) -> Iterator[str]:
    """All texts in a JSON value, however deep: names, too."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            left += [*map(str, item), *item.values()]
        elif isinstance(item, list | tuple):
            left += item
