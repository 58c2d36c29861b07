"""Long-term memory as it goes over the wire."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from seedcore.memory.long_term.memory_limits import (
    ALL,
    MAX_ITEMS,
    MAX_K,
    MAX_SCOPES,
    MAX_TAG_CHARS,
    MAX_TAGS,
    MAX_TEXT_CHARS,
)

MemoryText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"^[^\x00]*$")]
MemoryScope = Annotated[str, StringConstraints(min_length=1, max_length=140, pattern=r"^[^\x00]*$")]
MemoryTag = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TAG_CHARS, pattern=r"^[^\x00]*$")]
MemoryTags = Annotated[list[MemoryTag], Field(max_length=MAX_TAGS)]


class MemoryItemIn(BaseModel):
    """A text to remember."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: MemoryText = Field(description="what to remember; passwords, keys and tokens in it are hidden")
    scope: MemoryScope = Field(ALL, description="`all`, `agent:ID`, `organ:ID` or `domain:NAME`")
    tags: MemoryTags = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict, description="at most 16 KiB of JSON")
    salience: float = Field(0.5, ge=0, le=1, allow_inf_nan=False, strict=True, description="how important it is")


class MemoryIn(BaseModel):
    """Texts to remember: all or none."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    items: list[MemoryItemIn] = Field(min_length=1, max_length=MAX_ITEMS)


class MemoryIdsOut(BaseModel):
    """Ids in the order of the items; the same text in the same scope has one id. `fallback`: what was done without."""

    ids: list[UUID]
    fallback: str | None = None


class MemoryQuery(BaseModel):
    """What to find: by meaning and by words."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    query: MemoryText
    k: int = Field(10, ge=1, le=MAX_K, strict=True, description="how many at most")
    scope: MemoryScope | Annotated[list[MemoryScope], Field(min_length=1, max_length=MAX_SCOPES)] | None = Field(
        None, description="one scope or several; left out: all"
    )
    tags: MemoryTags = Field(default_factory=list, description="those that a memory must have, all of them")


class MemoryScores(BaseModel):
    """How well a memory fits, by each half that found it."""

    vector: float | None = Field(None, description="cosine similarity of meaning, from -1 to 1")
    text: float | None = Field(None, description="how well its words fit; above 0")


class MemoryOut(BaseModel):
    """A memory that was found."""

    id: UUID
    text: str
    score: float = Field(description="sum of 1 / (60 + rank) over the halves: by this they are sorted")
    scores: MemoryScores
    scope: str
    source: str = Field(description="api, skill, plan, failure, triage, fact or consolidation")
    source_id: str | None
    tags: list[str]
    metadata: dict[str, Any]
    salience: float
    created_at: datetime


class MemoryFoundOut(BaseModel):
    """What was found, best first. `fallback`: what was done without; words alone were searched then."""

    items: list[MemoryOut]
    fallback: str | None = None
