"""A fact: what is held to be true, and when."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from seedcore.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class FactDraft:
    """What people say of a fact.

    Attributes:
        text: for people and for search; None: made of subject, predicate and object.
        valid_from: since when it holds; None: from now on.
        valid_to: until when it holds, that moment not included; None: no end is known.

    Raises:
        InvalidInputError: it ends before it begins.
    """

    subject: str
    predicate: str
    object: str
    text: str | None = None
    tags: tuple[str, ...] = ()
    source: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def __post_init__(self) -> None:
        # Without a beginning it is now, which a fact about the past alone would lie before.
        since = self.valid_from or datetime.now(UTC)
        if self.valid_to is not None and self.valid_to <= since:
            raise InvalidInputError.for_field(
                "valid_to", f"must be after valid_from, which is {since.isoformat()} (now, when it is left out)"
            )

    @property
    def full_text(self) -> str:
        """Its text, or the one that is made when none was given."""
        return self.text or f"{self.subject} {self.predicate} {self.object}"


@dataclass(frozen=True, slots=True)
class Fact:
    """A stored fact.

    Attributes:
        text_is_made: its text is made of subject, predicate and object, and follows them when they change.
        contradicts: facts with the same subject and predicate and another object, that hold at some time when this one
            holds; the newest first, at most `MAX_CONTRADICTIONS`.
    """

    id: UUID
    tenant: str
    subject: str
    predicate: str
    object: str
    text: str
    tags: tuple[str, ...]
    source: str | None
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    updated_at: datetime
    contradicts: tuple[UUID, ...] = ()

    @property
    def text_is_made(self) -> bool:
        """Whether its text is the one that is made of subject, predicate and object."""
        return self.text == f"{self.subject} {self.predicate} {self.object}"

    @property
    def draft(self) -> FactDraft:
        """What was said of it, to be changed."""
        text = None if self.text_is_made else self.text
        return FactDraft(
            self.subject, self.predicate, self.object, text, self.tags, self.source, self.valid_from, self.valid_to
        )


@dataclass(frozen=True, slots=True)
class FactFilter:
    """Which facts to find.

    Attributes:
        tenant: whose; None: those of all tenants.
        words: full text, as in a search engine (`"two words"`, `or`, `-not`).
        tags: those that have all of these.
        at: those that hold at that moment.
        before: those made before that one.
    """

    tenant: str | None = None
    words: str | None = None
    subject: str | None = None
    predicate: str | None = None
    tags: tuple[str, ...] = ()
    at: datetime | None = None
    before: UUID | None = None
