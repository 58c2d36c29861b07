"""Consolidation: one memory in place of many that are alike, with a loss that is bounded and measured.

Memories of one tenant, scope and source are grouped round leaders, the most salient first: a memory joins the nearest
leader that is near enough (leader clustering, Hartigan 1975). Of a group the member nearest to its middle stays, as a
memory of source `consolidation` with the tags, counts and dates of all; the others go.

What that loses is stated with each: `loss`, the mean of 1 minus the cosine similarity between what went and what
stays; `worst`, the largest; `words_lost`, the share of the members' different words that it does not hold. A run also
asks for a sample of what went by its own text, before and after: `found_before` and `found_after` are the shares that
are among the first ten, after it by what stands in their place.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray

from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.memory_limits import MAX_TAGS
from seedcore.memory.long_term.store import NO_PGVECTOR, MemoryStore
from seedcore.stores.postgres import Database

SOURCE = "consolidation"
LEAST_ALIKE = 3
"""Memories that a group must have to be worth one in their place."""
PAGE = 2_000
"""Memories that are compared with each other at once; each pair of groups costs a product of their vectors."""
MAX_SAMPLE = 100
MAX_LISTED = 50

_WORD = re.compile(r"\w+")

# The scan of a page: what is old enough, of one tenant, scope and source after another.
_GROUPS = """
select m.tenant, m.scope, m.source, count(*) as n from seedcore.memories m
where m.created_at <= now() - make_interval(secs => 86400 * $1) and m.source <> all($2::text[])
group by m.tenant, m.scope, m.source having count(*) >= $3 order by 1, 2, 3
"""
_PAGE = """
select m.id, m.text, m.tags, m.salience, m.seen, m.created_at, v.vector::real[] as vector
from seedcore.memories m join seedcore.memory_vectors v on v.memory_id = m.id and v.model = $5
where m.tenant = $1 and m.scope = $2 and m.source = $3 and m.created_at <= now() - make_interval(secs => 86400 * $4)
  and m.id > $6 order by m.id limit $7
"""
_REMOVE = "delete from seedcore.memories where id = any($1::uuid[])"
_COUNT = "update seedcore.memories set seen = $2, created_at = $3 where id = $1"

Progress = Callable[[int, int], Awaitable[None]]


@dataclass(slots=True)
class ConsolidationReport:
    """What a run did, and what it lost."""

    scanned: int = 0
    groups: int = 0
    removed: int = 0
    loss: float = 0.0
    worst: float = 0.0
    words_lost: float = 0.0
    sampled: int = 0
    found_before: float | None = None
    found_after: float | None = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class _Old:
    """An old memory and its vector."""

    id: UUID
    text: str
    tags: tuple[str, ...]
    salience: float
    seen: int
    created_at: datetime
    vector: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Indexes of the members, that of the one that stays, and the loss of each."""

    members: NDArray[np.int64]
    kept: int
    losses: NDArray[np.float64]


def group_alike(
    vectors: NDArray[np.float32], salience: Sequence[float], max_loss: float, least: int = LEAST_ALIKE
) -> list[Group]:
    """Groups in which no member is further than `max_loss` from the one that stays.

    Args:
        vectors: shape (n, dimension), of unit length.
        salience: of each; the most salient become leaders first.
        max_loss: 1 minus the cosine similarity.
        least: smallest size of a group.
    """
    order = np.argsort(-np.asarray(salience), kind="stable")
    leaders: list[int] = []
    members: list[list[int]] = []
    for index in order.tolist():
        if leaders:
            near = vectors[leaders] @ vectors[index]
            best = int(np.argmax(near))
            if 1.0 - float(near[best]) <= max_loss:
                members[best].append(index)
                continue
        leaders.append(index)
        members.append([index])
    groups = []
    for found in members:
        if len(found) >= least:
            group = _around_the_middle(vectors, np.asarray(sorted(found)), max_loss)
            if len(group.members) >= least:
                groups.append(group)
    return groups


def _around_the_middle(vectors: NDArray[np.float32], members: NDArray[np.int64], max_loss: float) -> Group:
    """Keep the member nearest to the mean; those that are too far from it are left as they are."""
    own = vectors[members]
    kept = int(members[int(np.argmax(own @ own.mean(axis=0)))])
    losses = np.clip(1.0 - (own @ vectors[kept]).astype(np.float64), 0.0, 2.0)
    near = losses <= max_loss
    return Group(members[near], kept, losses[near])


class Consolidation:
    """Consolidates the memories of all tenants, each group in a transaction; it may end anywhere.

    Args:
        database: where they are.
        store: searches them, to measure what was lost.
        model: name of the embedder whose vectors are compared.
        after_d: days that a memory stays as it is.
        max_loss: see `Group`.
    """

    def __init__(self, database: Database, store: MemoryStore, model: str, after_d: float, max_loss: float) -> None:
        self._database, self._store, self._model = database, store, model
        self._after_d, self._max_loss = after_d, max_loss

    async def run(self, progress: Progress | None = None) -> ConsolidationReport:
        """Consolidate all that is due.

        Raises:
            UnavailableError: the database does not answer; what was done until then stays done.
        """
        report = ConsolidationReport()
        if not await self._store.has_vectors():
            report.fallback = NO_PGVECTOR
            return report
        async with self._database.connection() as connection:
            groups = await connection.fetch(_GROUPS, self._after_d, [SOURCE, "fact"], LEAST_ALIKE)
        total = sum(row["n"] for row in groups)
        sums = _Sums()
        for row in groups:
            after = UUID(int=0)
            while page := await self._page(row, after):
                after = page[-1].id
                await self._one_page(row, page, report, sums)
                if progress is not None:
                    await progress(report.scanned, total)
        sums.into(report)
        return report

    async def _page(self, row: asyncpg.Record, after: UUID) -> list[_Old]:
        async with self._database.connection() as connection:
            found = await connection.fetch(
                *(_PAGE, row["tenant"], row["scope"], row["source"], self._after_d, self._model, after, PAGE)
            )
        return [
            _Old(
                *(one["id"], one["text"], tuple(one["tags"]), one["salience"], one["seen"], one["created_at"]),
                np.asarray(one["vector"], dtype=np.float32),
            )
            for one in found
        ]

    async def _one_page(
        self, row: asyncpg.Record, page: list[_Old], report: ConsolidationReport, sums: "_Sums"
    ) -> None:
        report.scanned += len(page)
        vectors = np.stack([old.vector for old in page])
        for group in group_alike(vectors, [old.salience for old in page], self._max_loss):
            members = [page[index] for index in group.members]
            kept = page[group.kept]
            # Spread over the run: the first groups would be of the first tenant alone.
            sample = members[-1] if len(sums.found) < MAX_SAMPLE and members[-1].id != kept.id else None
            before = sample is not None and await self._finds(row, sample.text, sample.id)
            summary_id = await self._replace(row, members, kept, group)
            report.groups += 1
            report.removed += len(members) - 1
            sums.add(group, _words_lost(members, kept))
            if sample is not None:
                sums.found.append((before, await self._finds(row, sample.text, summary_id)))

    async def _finds(self, row: asyncpg.Record, text: str, wanted: UUID) -> bool:
        found = await self._store.search(text, 10, tenant=row["tenant"], scopes=[row["scope"]])
        return wanted in [memory.id for memory in found]

    async def _replace(self, row: asyncpg.Record, members: list[_Old], kept: _Old, group: Group) -> UUID:
        """Store the one that stays, then remove the members: whoever looks between finds both."""
        tags = [*kept.tags, *sorted({tag for old in members for tag in old.tags} - set(kept.tags))][:MAX_TAGS]
        first, last = min(old.created_at for old in members), max(old.created_at for old in members)
        summary = NewMemory(
            text=kept.text,
            tenant=row["tenant"],
            scope=row["scope"],
            tags=tags,
            metadata={
                "consolidated": len(members),
                "from": row["source"],
                "first": first.isoformat(),
                "last": last.isoformat(),
                "loss": round(float(group.losses.mean()), 4),
                "worst": round(float(group.losses.max()), 4),
                "words_lost": round(_words_lost(members, kept), 4),
                "of": [str(old.id) for old in members[:MAX_LISTED]],
            },
            salience=min(1.0, max(old.salience for old in members)),
            source=SOURCE,
        )
        [summary_id] = await self._store.remember([summary])
        async with self._database.transaction() as connection:
            await connection.execute(_COUNT, summary_id, sum(old.seen for old in members), first)
            await connection.execute(_REMOVE, [old.id for old in members])
        return summary_id


@dataclass(slots=True)
class _Sums:
    """Sums over all groups of a run."""

    losses: float = 0.0
    count: int = 0
    worst: float = 0.0
    words_lost: list[float] = field(default_factory=list)
    found: list[tuple[bool, bool]] = field(default_factory=list)

    def add(self, group: Group, words_lost: float) -> None:
        # The one that stays loses nothing, and does not count.
        self.losses += float(group.losses.sum())
        self.count += len(group.members) - 1
        self.worst = max(self.worst, float(group.losses.max()))
        self.words_lost.append(words_lost)

    def into(self, report: ConsolidationReport) -> None:
        report.loss = round(self.losses / self.count, 4) if self.count else 0.0
        report.worst = round(self.worst, 4)
        report.words_lost = round(float(np.mean(self.words_lost)), 4) if self.words_lost else 0.0
        report.sampled = len(self.found)
        if self.found:
            report.found_before = round(sum(before for before, _ in self.found) / len(self.found), 4)
            report.found_after = round(sum(after for _, after in self.found) / len(self.found), 4)


def _words_lost(members: Sequence[_Old], kept: _Old) -> float:
    """Share of the members' different words that the one that stays does not hold."""
    everything = {word for old in members for word in _WORD.findall(old.text.casefold())}
    return len(everything - set(_WORD.findall(kept.text.casefold()))) / max(len(everything), 1)
