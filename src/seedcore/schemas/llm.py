"""Wire models of ML's facade of language models: what OpenAI's protocol says, as far as SeedCore reads it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, field_validator

MAX_MESSAGES = 10_000
MAX_TOOLS = 128
MAX_CHOICES = 16
MAX_INPUTS = 2_048
MAX_TOKENS = 1_000_000
LOCAL_MODEL = "local"
"""The model of embeddings that is always there: the embedder in process."""

ModelName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
JsonObject = dict[str, Any]
TokenCount = Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)]


class StreamOptions(BaseModel):
    """How an answer is streamed."""

    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool | None = None


class ChatCompletionRequest(BaseModel):
    """A conversation to be continued. Fields that are not listed go to the language model's server as they are."""

    model_config = ConfigDict(extra="allow")

    model: ModelName | None = Field(None, description="A model of the server, or `fast` or `deep`; left out: `fast`.")
    messages: list[JsonObject] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    n: Annotated[StrictInt, Field(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    tools: list[JsonObject] | None = Field(None, max_length=MAX_TOOLS)
    response_format: JsonObject | None = None

    @field_validator("messages", mode="after")
    @classmethod
    def _have_roles(cls, value: list[JsonObject]) -> list[JsonObject]:
        for index, message in enumerate(value):
            role = message.get("role")
            if not (isinstance(role, str) and 0 < len(role) <= 50):
                raise ValueError(f"message {index} has no `role`, such as `user`")
        return value


class EmbeddingsRequest(BaseModel):
    """Texts to be turned into vectors."""

    model_config = ConfigDict(extra="allow")

    model: ModelName = Field(description="`local`: the embedder in process; any other one is the server's.")
    input: str | list[Any] = Field(description="One text, or 1 to 2,048; tokens go to the server alone.")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _texts_or_tokens(cls, value: object) -> object:
        if isinstance(value, str):
            return value
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_INPUTS:
            raise ValueError(f"must be a text, or a list of 1 to {MAX_INPUTS}")
        kinds = {_kind(item) for item in value}
        if len(kinds) != 1 or None in kinds:
            raise ValueError("must hold texts alone, or tokens alone")
        return value


def _kind(item: object) -> str | None:
    if isinstance(item, str):
        return "text"
    if isinstance(item, int) and not isinstance(item, bool):
        return "token"
    if isinstance(item, list) and item and all(_kind(inner) == "token" for inner in item):
        return "tokens"
    return None


class EmbeddingOut(BaseModel):
    """The vector of one text: numbers, or their float32 bytes in base64, lowest byte first."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    """Tokens that the texts have."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """Vectors of texts, in their order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingOut]
    model: str
    usage: EmbeddingsUsage


class ModelOut(BaseModel):
    """A model, an alias, or the embedder in process."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="0: it is not known.")
    owned_by: str


class ModelsResponse(BaseModel):
    """All models that may be asked for."""

    object: Literal["list"] = "list"
    data: list[ModelOut]
