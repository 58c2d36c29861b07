"""The client that SeedCore asks language models with: text or structured output, and tools, within budgets."""

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from seedcore.errors import InvalidInputError, SeedCoreError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.model_caller import ModelCaller
from seedcore.llm.chat_types import ChatAnswer, ChatMessage, ChatRequest, ChatTool, Profile
from seedcore.llm.kept_answers import AnswerCache, kept_answer
from seedcore.llm.model_errors import ModelAnswerError
from seedcore.llm.prices import ModelUsage
from seedcore.llm.upstream import aliases
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

if TYPE_CHECKING:
    from pydantic_ai import Agent, Tool
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.openai import OpenAIChatModel

__all__ = ["BudgetScope", "ChatAnswer", "ChatClient", "ChatMessage", "ChatRequest", "ChatTool", "ModelUsage", "Profile"]

SHOWN = 500


class ChatClient:
    """Asks the language model of the settings; one a process. Importing what it needs takes a second, on first use.

    Args:
        settings: which model there is.
        database: where budgets are.
        caller: what it sends with; None: one of its own.
        kept: where answers are kept that a request allows to be given again; None: nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        caller: ModelCaller | None = None,
        kept: AnswerCache | None = None,
    ) -> None:
        self._caller, self._kept = caller or ModelCaller(settings, database), kept
        self._settings = settings
        self._agent: Agent[None, Any] | None = None
        self._models: dict[Profile, OpenAIChatModel] = {}

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """Ask, and wait for the whole answer.

        Raises:
            LlmNotConfiguredError: there is no language model.
            BudgetExceededError: a call would be over a budget; it was not sent.
            UnavailableError: the server does not answer.
            OverloadedError: it has too much to do.
            DeadlineError: no answer in time.
            ModelRefusedError: the server does not accept the request.
            ModelAnswerError: the answer is not what was asked for, or calls tools and never ends.
        """
        if request.keep_s is None or self._kept is None or request.tools:
            return await self._ask(request)
        given = self._settings
        named = (given.llm_provider, request.profile, aliases(given).get(request.profile), given.llm_model_path)
        model = "/".join(map(str, named))
        return await kept_answer(self._kept, request, model, self._ask)

    async def _ask(self, request: ChatRequest) -> ChatAnswer:
        from pydantic_ai import FunctionToolset, NativeOutput, UsageLimits
        from pydantic_ai.exceptions import AgentRunError, UsageLimitExceeded
        from pydantic_ai.settings import ModelSettings

        from seedcore.llm.calls.caller_transport import OpenQuestion, current_question

        timeout_s = request.timeout_s
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        question = OpenQuestion(request.budget, deadline, request.used)
        token = current_question.set(question)
        output: Any = str if request.output_type is None else NativeOutput(request.output_type, strict=False)
        settings = ModelSettings(max_tokens=request.max_tokens or self._settings.llm_max_tokens)
        if request.temperature is not None:
            settings["temperature"] = request.temperature
        history, prompt = _split(request)
        try:
            run = await self._get_agent().run(
                prompt,
                message_history=history,
                model=self._model(request.profile),
                output_type=output,
                model_settings=settings,
                usage_limits=UsageLimits(request_limit=request.max_rounds),
                retries={"output": request.repairs, "tools": request.repairs},
                toolsets=[FunctionToolset([_tool(tool) for tool in request.tools])] if request.tools else None,
            )
        except UsageLimitExceeded:
            raise ModelAnswerError(
                f"The language model did not come to an answer in {request.max_rounds} calls.", **question.facts()
            ) from None
        except (AgentRunError, SeedCoreError) as error:
            if question.error is not None:
                raise question.error from None
            if isinstance(error, SeedCoreError):
                # A tool's.
                raise
            detail = f"The language model's answer is not what was asked for: {str(error)[:SHOWN]}"
            raise ModelAnswerError(detail, **question.facts()) from None
        finally:
            current_question.reset(token)
        output = run.output
        made = output if isinstance(output, BaseModel) else None
        text = output if made is None else made.model_dump_json()
        return ChatAnswer(
            str(text), made, question.model, question.usage, question.money, question.priced, question.rounds
        )

    def _get_agent(self) -> "Agent[None, Any]":
        if self._agent is None:
            from pydantic_ai import Agent

            self._agent = Agent()
        return self._agent

    def _model(self, profile: Profile) -> "OpenAIChatModel":
        from httpx2 import AsyncClient
        from openai import AsyncOpenAI
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.profiles.openai import OpenAIModelProfile
        from pydantic_ai.providers.openai import OpenAIProvider

        from seedcore.llm.calls.caller_transport import CallerTransport

        if profile not in self._models:
            # Nothing is sent to this address: the transport hands requests to the caller.
            client = AsyncOpenAI(
                base_url="http://seedcore/v1",
                api_key="none",
                max_retries=0,
                http_client=AsyncClient(transport=CallerTransport(self._caller)),
            )
            self._models[profile] = OpenAIChatModel(
                profile,
                provider=OpenAIProvider(openai_client=client),
                profile=OpenAIModelProfile(
                    supports_json_schema_output=True,
                    openai_supports_strict_tool_definition=False,
                    openai_chat_supports_multiple_system_messages=False,
                ),
            )
        return self._models[profile]

    def health(self) -> dict[str, object]:
        """What is set up, and how it does; asks nothing."""
        return self._caller.health()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._caller.aclose()


def _split(request: ChatRequest) -> "tuple[list[ModelMessage], str]":
    """The messages before the last one, and the last one's text.

    Raises:
        InvalidInputError: the last one is not the user's.
    """
    from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, TextPart, UserPromptPart

    if not request.messages or request.messages[-1].role != "user":
        raise InvalidInputError.for_field("messages", "the last one must be the user's")
    history: list[ModelMessage] = []
    for message in request.messages[:-1]:
        if message.role == "assistant":
            history.append(ModelResponse([TextPart(message.content)]))
        else:
            part = SystemPromptPart if message.role == "system" else UserPromptPart
            history.append(ModelRequest([part(message.content)]))
    return history, request.messages[-1].content


def _tool(tool: ChatTool) -> "Tool[None]":
    """A tool as pydantic-ai takes it: arguments that do not fit go back to the model with the errors."""
    from pydantic_ai import ModelRetry, Tool

    async def call(**arguments: Any) -> object:
        try:
            given = tool.parameters.model_validate(arguments)
        except ValidationError as error:
            raise ModelRetry(str(error)) from None
        return await tool.call(given)

    return Tool.from_schema(call, tool.name, tool.description, tool.parameters.model_json_schema())
