"""Models of `POST /cognitive/synthesize-memory`."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, OnBehalf, StrictInput

Tag = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class SynthesizeMemoryRequest(StrictInput, EngineChoice, OnBehalf):
    """What to say about: a query, and which memories may be used."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=4000, strip_whitespace=True)]
    k: int = Field(20, ge=1, le=50, description="memories to read at most")
    scopes: list[Tag] = Field(default_factory=list, max_length=20, description="`all`, `agent:ID`, …; empty: any")
    tags: list[Tag] = Field(default_factory=list, max_length=20, description="a memory has all of these")
    sentences: int = Field(5, ge=1, le=20, description="statements of the answer at most")


class Statement(BaseModel):
    """One statement, and the ids of the memories that it rests on: at least one, all of them in `evidence`."""

    text: str
    cites: list[str] = Field(min_length=1)


class SynthesizeMemoryResponse(EngineAnswer):
    """What memory says about the query: `summary` is the statements in one text.

    `read` memories were found. When there are none, `statements` is empty and `summary` says so.
    """

    summary: str
    statements: list[Statement]
    read: int
