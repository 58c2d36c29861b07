"""One rule of the policy: a CEL expression over declared facts, checked when it is loaded."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import cel

from seedcore.errors import InvalidInputError

Route = Literal["fast", "plan", "hold", "reject"]

FACTS: dict[str, dict[str, type]] = {
    "task": {"type": str, "domain": str, "priority": int, "attempt": int, "size": int, "approved": bool},
    "valve": {
        "state": str,
        "known": bool,
        "shifted": bool,
        "held": bool,
        "evidence": float,
        "work": float,
        "outcome": float,
    },
    "fleet": {"agents": int, "queued_s": float},
    "budget": {"plans_per_minute": int},
}
"""What rules may ask about; see docs/policy.md."""

MAX_EXPRESSION = 2_000
_ALLOWED = {"size", "startsWith", "endsWith", "contains", "matches", "int", "double", "string"}
_FIELD = re.compile(r"\b(task|valve|fleet|budget)\s*(?:\.\s*([A-Za-z_]\w*)|(\[))")
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_SAMPLES: tuple[dict[type, Any], ...] = (
    {str: "", int: 0, float: 0.0, bool: False},
    {str: "a", int: 7, float: 0.7, bool: True},
)


def sample(values: dict[type, Any]) -> dict[str, dict[str, Any]]:
    """Facts with one value a type."""
    return {group: {name: values[kind] for name, kind in fields.items()} for group, fields in FACTS.items()}


@dataclass(slots=True)
class Rule:
    """When `when` holds, the task takes `route`.

    Attributes:
        wait_s: how long a task that it holds waits for a person; None: as the setting says.
        fields: the facts that the expression asks about, as (group, name).
    """

    name: str
    when: str
    route: Route
    priority: int = 0
    reason: str = ""
    wait_s: float | None = None
    fields: frozenset[tuple[str, str]] = field(init=False)
    _program: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._program = self._compiled()
        self.fields = self._fields()
        self._check_types()

    def holds(self, facts: dict[str, dict[str, Any]]) -> bool:
        """Whether it holds.

        Raises:
            Exception: what CEL cannot compute, such as a division by zero; a rule may not let a task pass then.
        """
        answer = self._program.execute(facts)
        if not isinstance(answer, bool):
            raise TypeError(f"{answer!r} is neither true nor false")
        return answer

    def _compiled(self) -> Any:
        if len(self.when) > MAX_EXPRESSION:
            raise self._wrong(f"it is longer than {MAX_EXPRESSION} characters")
        try:
            program = cel.compile(self.when)
        except ValueError as error:
            raise self._wrong(str(error)) from None
        strange = sorted(set(program.variables()) - set(FACTS))
        if strange:
            raise self._wrong(f"{', '.join(strange)} is not known; facts: {', '.join(FACTS)}")
        # Names without a letter first are operators; one of them is what loops are made of.
        loops = [name for name in program.functions() if name == "@not_strictly_false"]
        if loops or re.search(r"\.\s*(all|exists|exists_one|map|filter)\s*\(", _STRING.sub("''", self.when)):
            raise self._wrong("loops (all, exists, exists_one, map, filter) are not allowed: they have no bounded cost")
        unknown = [name for name in program.functions() if name[:1].isalpha() and name not in _ALLOWED]
        if unknown:
            raise self._wrong(f"{', '.join(unknown)} is not allowed; functions: {', '.join(sorted(_ALLOWED))}, has")
        return program

    def _fields(self) -> frozenset[tuple[str, str]]:
        found = set()
        for group, name, bracket in _FIELD.findall(_STRING.sub("''", self.when)):
            if bracket or name not in FACTS[group]:
                raise self._wrong(f"{group}.{name or '[…]'} is not known; {group} has {', '.join(FACTS[group])}")
            found.add((group, name))
        return frozenset(found)

    def _check_types(self) -> None:
        # `&&` and `||` hide what is wrong on their other side: every operand is tried by itself, too.
        for values in _SAMPLES:
            facts = sample(values)
            for text in (self.when, *_operands(self.when)):
                try:
                    answer = cel.compile(text).execute(facts)
                except ValueError:
                    continue
                except ZeroDivisionError:
                    continue
                except Exception as error:  # noqa: BLE001 - CEL raises what it likes
                    raise self._wrong(f"{text.strip()}: {error}") from None
                if text is self.when and not isinstance(answer, bool):
                    raise self._wrong(f"it gives {answer!r}, neither true nor false")

    def _wrong(self, why: str) -> InvalidInputError:
        return InvalidInputError(f"Policy rule {self.name!r}: {why}")


def _operands(expression: str) -> list[str]:
    blank = _STRING.sub(lambda found: "_" * len(found.group()), expression)
    edges = [0, *(m.end() for m in re.finditer(r"&&|\|\|", blank))]
    ends = [*(m.start() for m in re.finditer(r"&&|\|\|", blank)), len(blank)]
    return [_balanced(expression[start:end]) for start, end in zip(edges, ends, strict=True)] if len(edges) > 1 else []


def _balanced(text: str) -> str:
    """Without the parentheses that the split tore."""
    blank = _STRING.sub(lambda found: "_" * len(found.group()), text)
    text = text.strip()
    more = blank.count("(") - blank.count(")")
    for _ in range(more):
        text = text.lstrip().removeprefix("!").lstrip().removeprefix("(")
    for _ in range(-more):
        text = text.rstrip().removesuffix(")")
    return text
