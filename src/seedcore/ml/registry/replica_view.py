"""What one replica knows of models, and what changed since it last looked."""

import asyncio
from collections.abc import Mapping

from seedcore.errors import NotFoundError
from seedcore.ml.predicting.model_cache import ModelCache
from seedcore.ml.registry.aliases import AliasCache, ModelAliases
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml.model_registry import AliasChange, RefreshResponse
from seedcore.schemas.ml.models import ModelRef

Versions = Mapping[str, frozenset[int]]


class ReplicaView:
    """Compares the folder and the aliases with what was there at the last look; one look at a time."""

    def __init__(self, store: ModelStore, aliases: AliasCache, models: ModelCache) -> None:
        self._store, self._aliases, self._models = store, aliases, models
        self._seen: dict[str, frozenset[int]] = {}
        self._known: dict[str, Mapping[str, int]] | None = None
        self._looking = asyncio.Lock()

    async def begin(self) -> None:
        """Take the versions that are there now as known; the first look at PostgreSQL does the same for aliases."""
        self._seen = await asyncio.to_thread(self._stored, None)

    async def refresh(self, name: str | None = None) -> RefreshResponse:
        """Look again, at one name or at all.

        Raises:
            NotFoundError: `name` has no version, and had none.
            UnavailableError: PostgreSQL is away, and aliases have never been read.
        """
        async with self._looking:
            await self._aliases.renew()
            aliases = await self._aliases.current()
            if self._known is None:
                self._known = dict(aliases.versions)
            stored = await asyncio.to_thread(self._stored, name)
            before = self._seen
            if name is not None and not stored.get(name) and not before.get(name):
                raise NotFoundError(f"There is no model {name!r}.")
            gone = await asyncio.to_thread(self._models.drop_gone)
            _, broken = await asyncio.to_thread(self._store.newest)
            answer = RefreshResponse(
                added=_difference(stored, before, name),
                gone=_difference(before, stored, name),
                aliases=_changed(self._known, aliases, name),
                evicted=_references(gone, name),
                loaded=_references(self._models.held(), name),
                models=len(stored),
                versions=sum(map(len, stored.values())),
                broken=[one for one in broken if name in (None, one.name)],
            )
            self._remember(stored, aliases, name)
            return answer

    def _stored(self, name: str | None) -> dict[str, frozenset[int]]:
        names = self._store.names() if name is None else [name]
        return {one: frozenset(versions) for one in names if (versions := self._store.versions(one))}

    def _remember(self, stored: Versions, aliases: ModelAliases, name: str | None) -> None:
        if name is None:
            self._seen, self._known = dict(stored), dict(aliases.versions)
            return
        self._seen = {**self._seen, name: stored.get(name, frozenset())}
        self._known = {**(self._known or {}), name: aliases.of(name)}


def _changed(known: Mapping[str, Mapping[str, int]], aliases: ModelAliases, name: str | None) -> list[AliasChange]:
    names = {*known, *aliases.versions} if name is None else {name}
    return [
        AliasChange(name=one, alias=alias, before=before.get(alias), now=now.get(alias))
        for one in sorted(names)
        for before, now in [(known.get(one, {}), aliases.of(one))]
        for alias in sorted({*before, *now})
        if before.get(alias) != now.get(alias)
    ]


def _difference(these: Versions, those: Versions, name: str | None) -> list[ModelRef]:
    names = sorted(these) if name is None else [name]
    return [
        ModelRef(name=one, version=version)
        for one in names
        for version in sorted(these.get(one, frozenset()) - those.get(one, frozenset()))
    ]


def _references(versions: list[tuple[str, int]], name: str | None) -> list[ModelRef]:
    return [ModelRef(name=one, version=version) for one, version in versions if name in (None, one)]
