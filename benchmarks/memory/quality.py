"""`python -m benchmarks.memory quality`: 200 labelled questions over the project's own documentation.

Every section of docs/ is a memory; an answer is right when it is one of the sections that the question names. Hybrid
search beside each of its halves: hit@1, hit@10, and the mean reciprocal rank of the first right answer (0 beyond 10).
"""

import argparse
import asyncio
import json
from uuid import UUID

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.memory.labelled_queries import LabelledQuery, Section, read_queries, read_sections
from benchmarks.memory.scratch_store import scratch_store
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.memory_limits import MAX_TEXT_CHARS
from seedcore.memory.long_term.store import MemoryStore

K = 10
BATCH = 200


def text_of(section: Section) -> str:
    return f"{section.heading}\n{section.text}"[:MAX_TEXT_CHARS]


async def fill(store: MemoryStore, sections: list[Section]) -> dict[UUID, set[tuple[str, str]]]:
    """Which sections each memory is."""
    places: dict[UUID, set[tuple[str, str]]] = {}
    for start in range(0, len(sections), BATCH):
        batch = sections[start : start + BATCH]
        for section, id_ in zip(batch, await store.remember([NewMemory(text_of(one)) for one in batch]), strict=True):
            places.setdefault(id_, set()).add((section.file, section.heading))
    return places


async def ranks(
    store: MemoryStore, queries: list[LabelledQuery], places: dict[UUID, set[tuple[str, str]]]
) -> dict[str, list[int | None]]:
    """Rank of the first right answer by each way of searching, from 1; None: not among the first K."""
    found: dict[str, list[int | None]] = {"hybrid": [], "meaning": [], "words": []}
    for query in queries:
        hybrid = await store.search(query.query, K)
        wide = await store.search(query.query, 100)
        ways = {
            "hybrid": hybrid,
            "meaning": sorted((m for m in wide if "vector" in m.scores), key=lambda m: -m.scores["vector"])[:K],
            "words": sorted((m for m in wide if "text" in m.scores), key=lambda m: -m.scores["text"])[:K],
        }
        for way, memories in ways.items():
            right = [n for n, m in enumerate(memories, 1) if not query.answers.isdisjoint(places[m.id])]
            found[way].append(min(right, default=None))
    return found


def figures(found: list[int | None]) -> dict[str, float]:
    return {
        "hit@1": float(np.mean([rank == 1 for rank in found])),
        "hit@10": float(np.mean([rank is not None for rank in found])),
        "mrr@10": float(np.mean([0.0 if rank is None else 1 / rank for rank in found])),
    }


async def run() -> dict[str, dict[str, dict[str, float]]]:
    sections = [section for section in read_sections() if section.text.strip()]
    queries = read_queries()
    async with scratch_store() as (store, _):
        found = await ranks(store, queries, await fill(store, sections))
    own = [n for n, query in enumerate(queries) if query.wording == "own"]
    rest = [n for n, query in enumerate(queries) if query.wording != "own"]
    groups = {"all": list(range(len(queries))), "own words": own, "the page's words": rest}
    return {
        way: {name: figures([ranked[n] for n in indexes]) for name, indexes in groups.items()}
        for way, ranked in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(run())
    if options.json:
        print(json.dumps(found, indent=1))
        return
    table = Table("", "questions", "hit@1", "hit@10", "mrr@10")
    for way, groups in found.items():
        for group, values in groups.items():
            table.add_row(way, group, *(f"{value:.3f}" for value in values.values()))
    Console().print(table)
