"""Facts as they go over the wire."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

MAX_SUBJECT, MAX_PREDICATE, MAX_OBJECT, MAX_TEXT, MAX_TAG, MAX_TAGS, MAX_WORDS = 300, 200, 2000, 10_000, 100, 32, 1000
"""In characters, and tags of a fact. An index holds subject and predicate together: both are short."""

_NO_NUL = r"^[^\x00]*$"


def _in_utc(moment: datetime) -> datetime:
    try:
        found = moment.astimezone(UTC)
    except OverflowError:
        found = datetime.max.replace(tzinfo=UTC)
    if not 1 <= found.year <= 9998:
        raise ValueError("must lie in the years 1 to 9998")
    return found


def _once(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def _words(most: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=most, pattern=_NO_NUL)


Subject = Annotated[str, _words(MAX_SUBJECT)]
Predicate = Annotated[str, _words(MAX_PREDICATE)]
Object = Annotated[str, _words(MAX_OBJECT)]
FactText = Annotated[str, _words(MAX_TEXT)]
Source = Annotated[str, _words(MAX_SUBJECT)]
Tags = Annotated[list[Annotated[str, _words(MAX_TAG)]], Field(max_length=MAX_TAGS), AfterValidator(_once)]
FactMoment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class FactIn(BaseModel):
    """A fact, whole."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    subject: Subject = Field(description="what it is about, such as `skill:text.summarize`")
    predicate: Predicate = Field(description="what is said of it, such as `is_slow_with`")
    object: Object = Field(description="the value, such as `inputs over 1 MB`")
    text: FactText | None = Field(None, description="for people and for search; left out, made of the three above")
    tags: Tags = Field(default_factory=list)
    source: Source | None = Field(None, description="where it comes from")
    valid_from: FactMoment | None = Field(None, description="left out: now, or what it was (PUT)")
    valid_to: FactMoment | None = Field(None, description="from then on it does not hold; null: no end is known")


class FactPatch(BaseModel):
    """What to change of a fact; what is left out stays. Null removes `source`, `valid_to`, and a text of its own."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    subject: Subject | None = None
    predicate: Predicate | None = None
    object: Object | None = None
    text: FactText | None = None
    tags: Tags | None = None
    source: Source | None = None
    valid_from: FactMoment | None = None
    valid_to: FactMoment | None = None

    @field_validator("subject", "predicate", "object", "tags", "valid_from", mode="before")
    @classmethod
    def _is_needed(cls, given: Any) -> Any:
        if given is None:
            raise ValueError("cannot be null: leave it out to keep it")
        return given


class FactOut(BaseModel):
    """A stored fact."""

    id: UUID
    subject: str | None
    predicate: str | None
    object: str | None
    text: str | None
    tags: list[str]
    source: str | None
    valid_from: datetime
    valid_to: datetime | None
    contradicts: list[UUID] = Field(
        description="facts with the same subject and predicate and another object, that hold at some time when this "
        "one does; at most 100"
    )
    tenant: str
    created_at: datetime
    updated_at: datetime
    payloads_hidden: bool | None = Field(None, description="true when your key may not see what it says")


class FactPageOut(BaseModel):
    """A page of facts; `next_cursor` is null on the last one."""

    items: list[FactOut]
    next_cursor: str | None


class FactQuery(BaseModel):
    """Filters of `GET /facts`: a fact must meet all that are given."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[str, _words(MAX_WORDS)] | None = Field(
        None, description='full text, as in a search engine: `"two words"`, `or`, `-not`'
    )
    subject: Subject | None = None
    predicate: Predicate | None = None
    tags: Tags = Field(default_factory=list, description="it has all of them; give it once for each")
    at: FactMoment | None = Field(None, description="it holds at that moment")
    tenant: Annotated[str, _words(40)] | None = Field(
        None, description="of callers who see all tenants: those of this one"
    )
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=500)
