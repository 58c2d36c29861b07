"""Who pays for a call of a language model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from seedcore.errors import InvalidInputError

HEADER = "x-seedcore-budget"
"""Carries the scope of a call to the facade, which believes it only of SeedCore's own services."""


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
            return cls(**json.loads(text))
        except (TypeError, ValueError, RecursionError):
            raise InvalidInputError.for_field(HEADER, "is not a scope of a budget") from None
