"""Long-term memory for both clients: `client.memory`."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from seedcore.client.facts import AsyncDrive, Drive
from seedcore.client.http_protocol import PREFIX, Request, Steps
from seedcore.client.http_retry import HttpPolicy, call
from seedcore.client.models import to_json
from seedcore.schemas.memory import MemoryFoundOut, MemoryIdsOut

_PATH = f"{PREFIX}/memory"
Item = Mapping[str, object] | str
"""A text, or `{text, scope, tags, metadata, salience}`: see `POST /api/v1/memory`."""


class Memories:
    """The long-term memory of a `SeedCore`."""

    def __init__(self, policy: HttpPolicy, drive: Drive) -> None:
        self._policy, self._drive = policy, drive

    def remember(self, *items: Item, tenant: str | None = None) -> list[UUID]:
        """Store texts, all or none; their ids in order. The next search finds them."""
        return self._drive(_remember(self._policy, items, tenant)).ids

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        scope: str | Sequence[str] | None = None,
        tags: Sequence[str] = (),
        tenant: str | None = None,
    ) -> MemoryFoundOut:
        """What fits best, by meaning and by words; `fallback` says what was done without."""
        return self._drive(_search(self._policy, query, k, scope, tags, tenant))


class AsyncMemories:
    """The long-term memory of an `AsyncSeedCore`; see `Memories`."""

    def __init__(self, policy: HttpPolicy, drive: AsyncDrive) -> None:
        self._policy, self._drive = policy, drive

    async def remember(self, *items: Item, tenant: str | None = None) -> list[UUID]:
        """Store texts, all or none; their ids in order. The next search finds them."""
        return (await self._drive(_remember(self._policy, items, tenant))).ids

    async def search(
        self,
        query: str,
        k: int = 10,
        *,
        scope: str | Sequence[str] | None = None,
        tags: Sequence[str] = (),
        tenant: str | None = None,
    ) -> MemoryFoundOut:
        """What fits best, by meaning and by words; `fallback` says what was done without."""
        return await self._drive(_search(self._policy, query, k, scope, tags, tenant))


def _remember(policy: HttpPolicy, items: Sequence[Item], tenant: str | None) -> Steps[MemoryIdsOut]:
    # Sent twice it is the same memories, seen once more.
    given = [{"text": item} if isinstance(item, str) else dict(item) for item in items]
    body = to_json({"items": given}, "items")
    return (yield from call(policy, Request("POST", _PATH, body=body, headers=_headers(tenant)), MemoryIdsOut))


def _search(
    policy: HttpPolicy, query: str, k: int, scope: str | Sequence[str] | None, tags: Sequence[str], tenant: str | None
) -> Steps[MemoryFoundOut]:
    scopes = scope if scope is None or isinstance(scope, str) else list(scope)
    body = to_json({"query": query, "k": k, "scope": scopes, "tags": list(tags)}, "query")
    request = Request("POST", f"{_PATH}/search", body=body, headers=_headers(tenant))
    return (yield from call(policy, request, MemoryFoundOut))


def _headers(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"X-SeedCore-Tenant": tenant}
