"""Who pays for a call of a language model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from seedcore.errors import InvalidInputError

HEADER = "x-seedcore-budget"
"""Carries the scope of a call to the facade, which believes it only of SeedCore's own services."""

MAX_NAME = 300
MAX_AMOUNT = 1e15


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """The budgets that a call counts against, beside that of the day in all.

    Attributes:
        plan: id of the plan's task.
        key: name of the API key that asked.
        tenant: whose work it is.
        plan_tokens: what the plan may use, if it has a limit of its own beside LLM_BUDGET_PLAN_TOKENS.
        plan_money: the same in money.
    """

    plan: str | None = None
    key: str | None = None
    tenant: str = "default"
    plan_tokens: float | None = None
    plan_money: float | None = None

    def to_headers(self) -> dict[str, str]:
        """The scope as a header of a request to the facade."""
        return {HEADER: json.dumps({name: value for name, value in asdict(self).items() if value is not None})}

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "BudgetScope | None":
        """The scope in a request's headers (their names in lower case); None when there is none.

        Raises:
            InvalidInputError: there is one that cannot be read.
        """
        text = headers.get(HEADER)
        if text is None:
            return None
        try:
            scope = cls(**json.loads(text))
            if not (all(map(_is_name, scope._names())) and all(map(_is_amount, (scope.plan_tokens, scope.plan_money)))):
                raise ValueError("a field has another type")
            return scope
        except (TypeError, ValueError, RecursionError):
            raise InvalidInputError.for_field(HEADER, "is not a scope of a budget") from None

    def _names(self) -> tuple[object, ...]:
        return (self.tenant, "plan" if self.plan is None else self.plan, "key" if self.key is None else self.key)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _is_amount(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_AMOUNT
    )
