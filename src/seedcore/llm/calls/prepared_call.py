"""A request that is ready to be sent, and what may go wrong with one attempt at it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from seedcore.errors import DeadlineError, SeedCoreError
from seedcore.llm.budget_scope import BudgetScope

Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A request in OpenAI's protocol.

    Attributes:
        path: below the upstream's base URL.
        body: what is sent, but for the model's name, which the upstream decides.
        model: as it was asked for: a name, an alias, or None.
        scope: who pays.
        deadline: the loop's time by which all of it must have ended.
    """

    path: str
    body: dict[str, Any]
    model: str | None
    scope: BudgetScope
    deadline: float

    async def within(self, work: Awaitable[Got]) -> Got:
        """Wait for `work`, until the deadline.

        Raises:
            DeadlineError: it did not end in time.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                return await work
        except TimeoutError:
            raise DeadlineError("The language model did not answer in time (LLM_TIMEOUT_S).") from None


class AttemptFailed(Exception):  # noqa: N818 - not an error of its own: it carries one
    """One attempt failed.

    Attributes:
        error: what to raise when it is not tried again.
        retry: whether another attempt may succeed.
        unseen: whether the server may have answered all the same: then it has cost what was reserved.
        sick: whether it says that the server does badly.
    """

    def __init__(self, error: SeedCoreError, *, retry: bool, unseen: bool, sick: bool) -> None:
        super().__init__(error.detail)
        self.error, self.retry, self.unseen, self.sick = error, retry, unseen, sick
