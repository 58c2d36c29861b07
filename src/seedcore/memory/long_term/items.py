"""What is remembered and what is found, and the bounds of both."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from seedcore.errors import InvalidInputError
from seedcore.memory.long_term.memory_limits import (
    ALL,
    MAX_ITEMS,
    MAX_METADATA_BYTES,
    MAX_SCOPES,
    MAX_TAG_CHARS,
    MAX_TAGS,
    MAX_TEXT_CHARS,
    SCOPE,
    SOURCE,
)
from seedcore.memory.long_term.secret_masks import json_without_secrets, without_secrets
from seedcore.utils.pg_json import unfit

_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A text to remember.

    Attributes:
        text: at most MAX_TEXT_CHARS; secrets in it are masked.
        tenant: who may find it.
        scope: `all`, `agent:ID`, `organ:ID` or `domain:NAME`.
        tags: words to filter by.
        metadata: a JSON object of at most MAX_METADATA_BYTES.
        salience: importance, from 0 to 1; forgetting takes the least first.
        source: what it comes from: `api`, `skill`, `plan`, `failure`, `triage`, `fact` or `consolidation`.
        source_id: of the thing that it comes from.
        replaces: it takes the place of what was remembered from the same source and `source_id`.
    """

    text: str
    tenant: str = "default"
    scope: str = ALL
    tags: Sequence[str] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    salience: float = 0.5
    source: str = "api"
    source_id: str | None = None
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class FoundMemory:
    """A memory that a search found.

    Attributes:
        score: by which they are sorted: the sum of 1 / (60 + rank) over the halves that found it.
        scores: `vector`, the cosine similarity; `text`, how well its words fit. A half that did not find it is absent.
    """

    id: UUID
    text: str
    score: float
    scores: Mapping[str, float]
    scope: str
    source: str
    source_id: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, object]
    salience: float
    created_at: datetime


def checked_items(items: Sequence[NewMemory]) -> list[NewMemory]:
    """The items as they are stored: bounded, without secrets, tags sorted.

    Raises:
        InvalidInputError: a field cannot be stored, or there are more than MAX_ITEMS.
    """
    if len(items) > MAX_ITEMS:
        raise InvalidInputError.for_field("items", f"at most {MAX_ITEMS} at once")
    return [_checked(item, f"items.{index}.") for index, item in enumerate(items)]


def checked_scopes(scopes: Sequence[str] | None) -> list[str] | None:
    """Scopes to search; None: all of the tenant's."""
    if scopes is None:
        return None
    if len(scopes) > MAX_SCOPES:
        raise InvalidInputError.for_field("scope", f"at most {MAX_SCOPES} scopes")
    return [_scope(scope, "scope") for scope in scopes]


def checked_tags(tags: Sequence[str], field_name: str = "tags") -> list[str]:
    """Tags without repetition, sorted."""
    if len(tags) > MAX_TAGS:
        raise InvalidInputError.for_field(field_name, f"at most {MAX_TAGS}")
    return sorted({checked_text(tag, field_name, MAX_TAG_CHARS) for tag in tags})


def checked_text(text: str, field_name: str, limit: int) -> str:
    """Text that PostgreSQL can keep."""
    if not 1 <= len(text) <= limit or not text.strip():
        raise InvalidInputError.for_field(field_name, f"must have 1 to {limit} characters, not all of them spaces")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidInputError.for_field(field_name, "must be valid Unicode without U+0000")
    return text


def digest_of(text: str) -> bytes:
    """SHA-256 of the text in one form of Unicode, small letters, and single spaces."""
    normal = _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()
    return hashlib.sha256(normal.encode()).digest()


def _scope(scope: str, field_name: str) -> str:
    checked_text(scope, field_name, 140)
    if re.fullmatch(SCOPE, scope) is None:
        raise InvalidInputError.for_field(field_name, "must be all, agent:ID, organ:ID or domain:NAME")
    return scope


def _checked(item: NewMemory, path: str) -> NewMemory:
    text = without_secrets(checked_text(item.text, f"{path}text", MAX_TEXT_CHARS)).strip()[:MAX_TEXT_CHARS]
    if isinstance(item.salience, bool) or not 0.0 <= item.salience <= 1.0:
        raise InvalidInputError.for_field(f"{path}salience", "must be from 0 to 1")
    if re.fullmatch(SOURCE, item.source) is None:
        raise InvalidInputError.for_field(f"{path}source", "must be a small letter and up to 63 of a-z, 0-9, _, ., -")
    if item.source_id is not None:
        checked_text(item.source_id, f"{path}source_id", 512)
    return NewMemory(
        text=text,
        tenant=item.tenant,
        scope=_scope(item.scope, f"{path}scope"),
        tags=checked_tags(item.tags, f"{path}tags"),
        metadata=_metadata(item.metadata, f"{path}metadata"),
        salience=item.salience,
        source=item.source,
        source_id=item.source_id,
        replaces=item.replaces,
    )


def _metadata(metadata: Mapping[str, object], path: str) -> Mapping[str, object]:
    try:
        clean = json_without_secrets(dict(metadata))
        text = json.dumps(clean, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise InvalidInputError.for_field(path, "must be a JSON object of finite numbers and valid Unicode") from None
    if size > MAX_METADATA_BYTES:
        raise InvalidInputError.for_field(path, f"must have at most {MAX_METADATA_BYTES} bytes as JSON")
    # With escapes, as U+0000 shows only there.
    if (reason := unfit(json.dumps(clean))) is not None:
        raise InvalidInputError.for_field(path, reason)
    assert isinstance(clean, dict)
    return clean
