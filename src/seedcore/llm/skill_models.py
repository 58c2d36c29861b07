"""Asks the language model for skills: within the budget of the plan that the task is a step of."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import BaseModel

from seedcore.errors import InvalidInputError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.chat_client import ChatClient
from seedcore.llm.chat_types import ChatAnswer, ChatMessage, ChatRequest, ChatTool
from seedcore.llm.kept_answers import AnswerCache
from seedcore.settings import Settings
from seedcore.skills.context_llm import Used
from seedcore.stores.postgres import Database

PLAN_OF = "select plan, tokens, money from seedcore.plan_of($1)"
CONNECTIONS = 2


class HostModels:
    """One for all skills of a process; it belongs to the skills' loop."""

    def __init__(self, settings: Settings, kept: AnswerCache | None = None) -> None:
        self._database = Database(settings, size=CONNECTIONS, name="seedcore-llm")
        self._client = ChatClient(settings, self._database, kept=kept)

    async def ask(
        self,
        task_id: str,
        tenant: str,
        prompt: str,
        used: Used,
        *,
        system: str | None = None,
        output: type[BaseModel] | None = None,
        profile: str = "fast",
        tools: Sequence[ChatTool] = (),
        max_tokens: int | None = None,
        keep_s: float | None = None,
    ) -> ChatAnswer:
        """Ask within the budgets of the task's plan, its tenant and the day; raises what `ChatClient.complete` does."""
        if profile not in ("fast", "deep"):
            raise InvalidInputError.for_field("profile", f"must be fast or deep, got {profile!r}")
        messages = [] if system is None else [ChatMessage("system", system)]
        request = ChatRequest(
            [*messages, ChatMessage("user", prompt)],
            profile="fast" if profile == "fast" else "deep",
            output_type=output,
            tools=tools,
            max_tokens=max_tokens,
            budget=await self._scope(task_id, tenant),
            used=used,
            keep_s=keep_s,
        )
        return await self._client.complete(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._database.aclose()

    async def _scope(self, task_id: str, tenant: str) -> BudgetScope:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(PLAN_OF, UUID(task_id))
        if row is None:
            return BudgetScope(tenant=tenant)
        return BudgetScope(str(row["plan"]), tenant=tenant, plan_tokens=row["tokens"], plan_money=row["money"])
