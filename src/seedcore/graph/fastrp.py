"""FastRP: vectors of a graph's nodes from random projections that are smoothed over the edges. Pure.

Chen et al., "Fast and Accurate Network Embeddings via Very Sparse Random Projection", CIKM 2019. Each node starts with
a very sparse random vector of its own, which follows from its id: the same node starts alike in every run. Each round
replaces a node's vector by the mean of its neighbours'; the result is the weighted sum of the rounds.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

WEIGHTS = (0.0, 1.0, 1.0, 0.6)
"""Of the rounds: direct neighbours and theirs say most about a node's role."""

SPARSITY = 3
"""One of so many entries of a random vector is not 0 (Achlioptas 2003)."""

DEGREE_POWER = -0.5
"""Random vectors are scaled by degree to this power, so that hubs do not drown the others."""


def fastrp(
    ids: Sequence[str], sources: Indices, targets: Indices, dimension: int = 128, weights: Sequence[float] = WEIGHTS
) -> Vectors:
    """One vector a node, of unit length, or 0 for a node without edges, shape (n, dimension).

    Args:
        ids: of the nodes; they determine the random vectors.
        sources: for each edge the index of one end, shape (m,). Edges count in both directions.
        targets: the other end, shape (m,).
        dimension: of the vectors.
        weights: of the rounds, beginning with the neighbours themselves.

    Raises:
        ValueError: the edges' arrays differ in length, or an index is not one of a node.
    """
    n = len(ids)
    if sources.shape != targets.shape:
        raise ValueError(f"{len(sources)} sources and {len(targets)} targets")
    if len(sources) and (min(sources.min(), targets.min()) < 0 or max(sources.max(), targets.max()) >= n):
        raise ValueError(f"an edge ends at a node that is not one of {n}")
    # By the node that receives, so that the sums of each node are one run.
    to, of = np.concatenate([targets, sources]), np.concatenate([sources, targets])
    order = np.argsort(to, kind="stable")
    of = of[order]
    degrees = np.bincount(to, minlength=n)
    receiving = np.flatnonzero(degrees)
    starts = np.concatenate([[0], np.cumsum(degrees)[:-1]])[receiving]
    share = np.zeros(n, dtype=np.float32)
    share[receiving] = 1.0 / degrees[receiving]
    scale = np.where(degrees > 0, np.maximum(degrees, 1).astype(np.float64) ** DEGREE_POWER, 0.0)
    current = _random(ids, dimension) * scale.astype(np.float32)[:, None]
    total = np.zeros((n, dimension), dtype=np.float32)
    for weight in weights:
        following = np.zeros_like(current)
        if len(receiving):
            following[receiving] = np.add.reduceat(current[of], starts, axis=0)
        current = following * share[:, None]
        if weight:
            total += np.float32(weight) * _unit(current)
    return _unit(total)


def _random(ids: Sequence[str], dimension: int) -> Vectors:
    """Very sparse random vectors: √s with probability 1/2s, -√s with the same, else 0."""
    digests = b"".join(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest() for name in ids)
    seeds = np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    steps = np.arange(1, dimension + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    draws = _mix(seeds[:, None] + steps[None, :]) % np.uint64(2 * SPARSITY)
    root = np.float32(np.sqrt(SPARSITY))
    vectors = np.zeros(draws.shape, dtype=np.float32)
    vectors[draws == 0] = root
    vectors[draws == 1] = -root
    return vectors


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled
