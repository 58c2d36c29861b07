"""Compiles one rule of the policy: a CEL expression over declared facts, checked when it is loaded."""

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

from seedcore.errors import FieldError, InvalidInputError
from seedcore.telemetry.lean_imports import empty

# Its command line loads a terminal toolkit: 0.2 s in every worker.
with empty("cel.cli"):
    import cel

Route = Literal["fast", "plan", "hold", "reject"]
FactValue = str | int | float | bool
Facts = dict[str, dict[str, FactValue]]
"""Values of facts by group and name."""

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
"""The facts that rules may use, by group; see docs/policy.md."""

VARIABLES: dict[str, type] = {"salience": float}
"""Facts that have no group: `salience` alone. Among facts each is a group with one value, whose name is empty."""

MAX_EXPRESSION = 2_000
_ALLOWED = {"size", "startsWith", "endsWith", "contains", "matches", "int", "double", "string"}
_FIELD = re.compile(r"\b(task|valve|fleet|budget)\s*(?:\.\s*([A-Za-z_]\w*)|(\[))")
_VARIABLE = re.compile(r"(?<![\w.])(salience)\b")
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_SAMPLES: tuple[dict[type, FactValue], ...] = (
    {str: "", int: 0, float: 0.0, bool: False},
    {str: "a", int: 7, float: 0.7, bool: True},
)


class _Program(Protocol):
    """A compiled CEL expression."""

    def execute(self, facts: dict[str, object]) -> object: ...

    def variables(self) -> list[str]: ...

    def functions(self) -> list[str]: ...


def sample_facts(values: dict[type, FactValue]) -> Facts:
    """Every fact, with one value for each type."""
    groups = FACTS | {name: {"": kind} for name, kind in VARIABLES.items()}
    return {group: {name: values[kind] for name, kind in fields.items()} for group, fields in groups.items()}


def as_variables(facts: Facts) -> dict[str, object]:
    """Facts as CEL takes them: an object for each group, the value itself where there is no group."""
    return {group: values.get("", values) for group, values in facts.items()}


@dataclass(slots=True)
class PolicyRule:
    """When `when` holds, the task takes `route`.

    Attributes:
        wait_s: how long a task that it holds waits for a person; None: as the setting says.
        fields: the facts that the expression uses, as (group, name); the name is empty where there is no group.
    """

    name: str
    when: str
    route: Route
    priority: int = 0
    reason: str = ""
    wait_s: float | None = None
    fields: frozenset[tuple[str, str]] = field(init=False)
    _program: _Program = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._program = self._compile()
        self.fields = self._fields()
        self._check_types()

    def holds(self, facts: Facts) -> bool:
        """Whether the rule holds.

        Raises:
            Exception: the expression cannot be evaluated, such as a division by zero; the task must not pass then.
        """
        answer = self._program.execute(as_variables(facts))
        if not isinstance(answer, bool):
            raise TypeError(f"{answer!r} is neither true nor false")
        return answer

    def _compile(self) -> _Program:
        if len(self.when) > MAX_EXPRESSION:
            raise self._error(f"it is longer than {MAX_EXPRESSION} characters")
        try:
            program: _Program = cel.compile(self.when)
        except ValueError as error:
            raise self._error(str(error)) from None
        undeclared = sorted(set(program.variables()) - {*FACTS, *VARIABLES})
        if undeclared:
            raise self._error(f"{', '.join(undeclared)} is not known; facts: {', '.join((*FACTS, *VARIABLES))}")
        # Names that begin without a letter are operators; one of them occurs in every loop.
        loops = [name for name in program.functions() if name == "@not_strictly_false"]
        if loops or re.search(r"\.\s*(all|exists|exists_one|map|filter)\s*\(", _STRING.sub("''", self.when)):
            raise self._error("loops (all, exists, exists_one, map, filter) are not allowed: they have no bounded cost")
        unknown = [name for name in program.functions() if name[:1].isalpha() and name not in _ALLOWED]
        if unknown:
            raise self._error(f"{', '.join(unknown)} is not allowed; functions: {', '.join(sorted(_ALLOWED))}, has")
        return program

    def _fields(self) -> frozenset[tuple[str, str]]:
        text = _STRING.sub("''", self.when)
        found = {(name, "") for name in _VARIABLE.findall(text)}
        for group, name, bracket in _FIELD.findall(text):
            if bracket or name not in FACTS[group]:
                raise self._error(f"{group}.{name or '[…]'} is not known; {group} has {', '.join(FACTS[group])}")
            found.add((group, name))
        return frozenset(found)

    def _check_types(self) -> None:
        # `&&` and `||` hide errors of their other operand, so every operand is also tried by itself.
        for values in _SAMPLES:
            facts = as_variables(sample_facts(values))
            for text in (self.when, *_operands(self.when)):
                try:
                    answer = cel.compile(text).execute(facts)
                except (ValueError, ZeroDivisionError):
                    continue
                except Exception as error:  # noqa: BLE001 - CEL raises many types
                    raise self._error(f"{text.strip()}: {error}") from None
                if text is self.when and not isinstance(answer, bool):
                    raise self._error(f"it gives {answer!r}, neither true nor false")

    def _error(self, reason: str) -> InvalidInputError:
        return InvalidInputError.for_fields([FieldError("when", reason)], f"Policy rule {self.name!r}: ")


def _operands(expression: str) -> list[str]:
    blank = _STRING.sub(lambda found: "_" * len(found.group()), expression)
    edges = [0, *(m.end() for m in re.finditer(r"&&|\|\|", blank))]
    ends = [*(m.start() for m in re.finditer(r"&&|\|\|", blank)), len(blank)]
    return [_balanced(expression[start:end]) for start, end in zip(edges, ends, strict=True)] if len(edges) > 1 else []


def _balanced(text: str) -> str:
    """The text without the parentheses that the split left open."""
    blank = _STRING.sub(lambda found: "_" * len(found.group()), text)
    text = text.strip()
    more = blank.count("(") - blank.count(")")
    for _ in range(more):
        text = text.lstrip().removeprefix("!").lstrip().removeprefix("(")
    for _ in range(-more):
        text = text.rstrip().removesuffix(")")
    return text
