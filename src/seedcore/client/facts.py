"""Facts for both clients: `client.facts`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypedDict, TypeVar, Unpack
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel

from seedcore.client.http_protocol import PREFIX, Emit, Request, Steps
from seedcore.client.http_retry import HttpPolicy, call
from seedcore.client.models import to_json
from seedcore.errors import InvalidInputError
from seedcore.schemas.facts import FactOut, FactPageOut

T = TypeVar("T")
_PATH = f"{PREFIX}/facts"


class FactFields(TypedDict, total=False):
    """What may be said of a fact beside subject, predicate and object: see `POST /api/v1/facts`."""

    text: str | None
    tags: Sequence[str]
    source: str | None
    valid_from: datetime | None
    valid_to: datetime | None


class FactChanges(FactFields, total=False):
    """What may be changed of a fact; what is left out stays."""

    subject: str
    predicate: str
    object: str


class FactFilters(TypedDict, total=False):
    """Which facts to find: full text (`q`), and what they must have."""

    q: str | None
    subject: str | None
    predicate: str | None
    tags: Sequence[str]
    at: datetime | None
    tenant: str | None


class NoContent(BaseModel):
    """The answer of a request that answers nothing."""


class Drive(Protocol):
    """Carries out the steps of an operation."""

    def __call__(self, steps: Steps[T]) -> T:
        """What the operation gives."""


class AsyncDrive(Protocol):
    """Carries out the steps of an operation, in an event loop."""

    def __call__(self, steps: Steps[T]) -> Awaitable[T]:
        """What the operation gives."""


class Facts:
    """The facts of a `SeedCore`."""

    def __init__(
        self,
        policy: HttpPolicy,
        drive: Drive,
        iterate: Callable[[Steps[None], type[FactOut]], Iterator[FactOut]],
    ) -> None:
        self._policy, self._drive, self._iterate = policy, drive, iterate

    def add(
        self, subject: str, predicate: str, value: str, *, tenant: str | None = None, **fields: Unpack[FactFields]
    ) -> FactOut:
        """Keep a fact; `contradicts` of what comes back names those that say otherwise. Never sent twice."""
        return self._drive(_add(self._policy, (subject, predicate, value), fields, tenant))

    def get(self, fact_id: UUID | str) -> FactOut:
        """One fact; NotFoundError when there is none of that id."""
        return self._drive(call(self._policy, Request("GET", _path(fact_id)), FactOut))

    def find(
        self, *, limit: int | None = None, page_size: int = 50, **filters: Unpack[FactFilters]
    ) -> Iterator[FactOut]:
        """Up to `limit` facts, the newest first; pages of `page_size` (1 to 500) are fetched as needed."""
        return self._iterate(_find(self._policy, filters, limit, page_size), FactOut)

    def change(self, fact_id: UUID | str, **changes: Unpack[FactChanges]) -> FactOut:
        """Change some of a fact."""
        return self._drive(_change(self._policy, fact_id, changes))

    def remove(self, fact_id: UUID | str) -> None:
        """Remove a fact; NotFoundError when there is none of that id."""
        self._drive(_remove(self._policy, fact_id))


class AsyncFacts:
    """The facts of an `AsyncSeedCore`; see `Facts`."""

    def __init__(
        self,
        policy: HttpPolicy,
        drive: AsyncDrive,
        iterate: Callable[[Steps[None], type[FactOut]], AsyncIterator[FactOut]],
    ) -> None:
        self._policy, self._drive, self._iterate = policy, drive, iterate

    async def add(
        self, subject: str, predicate: str, value: str, *, tenant: str | None = None, **fields: Unpack[FactFields]
    ) -> FactOut:
        """Keep a fact; `contradicts` of what comes back names those that say otherwise. Never sent twice."""
        return await self._drive(_add(self._policy, (subject, predicate, value), fields, tenant))

    async def get(self, fact_id: UUID | str) -> FactOut:
        """One fact; NotFoundError when there is none of that id."""
        return await self._drive(call(self._policy, Request("GET", _path(fact_id)), FactOut))

    def find(
        self, *, limit: int | None = None, page_size: int = 50, **filters: Unpack[FactFilters]
    ) -> AsyncIterator[FactOut]:
        """Up to `limit` facts, the newest first; pages of `page_size` (1 to 500) are fetched as needed."""
        return self._iterate(_find(self._policy, filters, limit, page_size), FactOut)

    async def change(self, fact_id: UUID | str, **changes: Unpack[FactChanges]) -> FactOut:
        """Change some of a fact."""
        return await self._drive(_change(self._policy, fact_id, changes))

    async def remove(self, fact_id: UUID | str) -> None:
        """Remove a fact; NotFoundError when there is none of that id."""
        await self._drive(_remove(self._policy, fact_id))


def _path(fact_id: UUID | str) -> str:
    try:
        known = fact_id if isinstance(fact_id, UUID) else UUID(fact_id)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInputError.for_field("fact_id", "not a valid fact id") from None
    return f"{_PATH}/{known}"


def _add(policy: HttpPolicy, triple: Sequence[str], fields: FactFields, tenant: str | None) -> Steps[FactOut]:
    subject, predicate, value = triple
    body = to_json({"subject": subject, "predicate": predicate, "object": value, **fields}, "fact")
    headers = {} if tenant is None else {"X-SeedCore-Tenant": tenant}
    return (yield from call(policy, Request("POST", _PATH, body=body, headers=headers, repeatable=False), FactOut))


def _change(policy: HttpPolicy, fact_id: UUID | str, changes: FactChanges) -> Steps[FactOut]:
    body = to_json(dict(changes), "changes")
    return (yield from call(policy, Request("PATCH", _path(fact_id), body=body), FactOut))


def _remove(policy: HttpPolicy, fact_id: UUID | str) -> Steps[None]:
    # Sent again after it was done, it would find no fact.
    yield from call(policy, Request("DELETE", _path(fact_id), repeatable=False), NoContent)


def _find(policy: HttpPolicy, filters: FactFilters, limit: int | None, page_size: int) -> Steps[None]:
    """Emit facts page after page; `limit` at most."""
    if not 1 <= page_size <= 500 or (limit is not None and limit < 0):
        raise InvalidInputError("page_size must be from 1 to 500, and limit must not be negative.")
    query: dict[str, object] = {name: value for name, value in filters.items() if value is not None}
    if isinstance(at := query.get("at"), datetime):
        query["at"] = at.isoformat()
    left = limit
    while left is None or left > 0:
        query["limit"] = page_size if left is None else min(page_size, left)
        page = yield from call(policy, Request("GET", f"{_PATH}?{urlencode(query, doseq=True)}"), FactPageOut)
        for fact in page.items:
            yield Emit(fact)
        if page.next_cursor is None:
            return
        query["cursor"] = page.next_cursor
        left = None if left is None else left - len(page.items)
