"""`python -m benchmarks.memory.embedding [--minilm]`: what a text costs an embedder in process."""

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.memory.labelled_queries import read_queries, read_sections
from seedcore.llm.embedding.sentence_embedder import SentenceEmbedder
from seedcore.llm.embedding.word_embedder import WordEmbedder


def cost(embedder: WordEmbedder | SentenceEmbedder, texts: list[str], rounds: int) -> dict[str, Any]:
    """Milliseconds a text: of processor time and by the clock, the median of `rounds` over all texts in one call."""
    embedder.embed_now(texts[:8])
    cpu, clock = [], []
    for _ in range(rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        embedder.embed_now(texts)
        clock.append((time.perf_counter() - began) * 1000 / len(texts))
        cpu.append((time.process_time() - began_cpu) * 1000 / len(texts))
    return {"ms": round(statistics.median(clock), 4), "cpu_ms": round(statistics.median(cpu), 4)}


def recall(embedder: WordEmbedder | SentenceEmbedder, k: int = 10) -> dict[str, float]:
    """Share of the labelled queries with an answer among the `k` nearest sections, by what words they use."""
    sections = list(read_sections())
    vectors = embedder.embed_now([f"{section.heading}\n{section.text}" for section in sections])
    queries = read_queries()
    near = np.argsort(-(embedder.embed_now([query.query for query in queries]) @ vectors.T), axis=1)[:, :k]
    hits: dict[str, list[bool]] = {"all": [], "text": [], "own": []}
    for query, rows in zip(queries, near, strict=True):
        hit = any((sections[row].file, sections[row].heading) in query.answers for row in rows)
        hits["all"].append(hit)
        hits[query.wording].append(hit)
    return {name: round(statistics.mean(found), 3) for name, found in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.embedding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minilm", action="store_true", help="the sentence transformer as well, which takes minutes")
    given = parser.parse_args()
    queries = [query.query for query in read_queries()]
    texts = [section.text[:400] for section in read_sections() if section.text]
    found: dict[str, Any] = {"texts": len(texts), "mean_characters": round(statistics.mean(map(len, texts)))}
    embedders = [WordEmbedder(), SentenceEmbedder()] if given.minilm else [WordEmbedder()]
    for embedder in embedders:
        found[embedder.name] = {
            "queries": cost(embedder, queries, given.rounds),
            "sections": cost(embedder, texts, given.rounds),
            "recall@10": recall(embedder),
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
