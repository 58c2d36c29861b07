"""Errors of language models. Service clients import them, so that an answer's problem document becomes its error."""

from typing import Any

from seedcore.errors import NotConfiguredError, SeedCoreError


class BudgetExceededError(SeedCoreError, code="budget_exceeded", status=429, title="Budget exceeded"):
    """A call of a language model would exceed a budget, and was not sent; `budget` names it: plan, key, tenant, day."""

    @property
    def transient(self) -> bool:
        """False: it would be over budget again; a budget of a day is free at `retry_after_s`."""
        return False


class LlmNotConfiguredError(NotConfiguredError, code="llm_not_configured", title="No language model"):
    """It needs a language model, and none is set up; the detail says what to set.

    A request that needs one only because of what it asks for names the field in `errors`; its status is then 422.
    """

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail, **facts)
        if self.errors:
            self.__dict__["status"] = 422


class ModelAnswerError(SeedCoreError, code="llm_bad_answer", status=502, title="Bad answer of a model"):
    """The language model's answer cannot be used: not what was asked for, too long, or not in OpenAI's protocol.

    Where they are known it carries `model` and `usage`: calls, input_tokens, output_tokens, money.
    """


class ModelRefusedError(SeedCoreError, code="llm_refused", status=502, title="Refused by the model's server"):
    """The language model's server refuses the request, and would again; `upstream_status` is its HTTP status."""

    @property
    def transient(self) -> bool:
        """False: it would refuse the same request again."""
        return False
