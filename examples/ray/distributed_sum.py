"""Computes a sum in four parts on the cluster: `python examples/ray/distributed_sum.py`."""

import numpy as np
import ray

from seedcore.utils.ray_utils import ensure_ray_initialized


@ray.remote
def compute_chunk(chunk: np.ndarray) -> float:
    return float(np.sum(chunk))


def main() -> None:
    if not ensure_ray_initialized():
        raise SystemExit("There is no Ray here: set RAY_ADDRESS to ray://HOST:10001.")
    data = np.random.default_rng().random((1000, 1000))
    total = sum(ray.get([compute_chunk.remote(chunk) for chunk in np.array_split(data, 4)]))
    if not np.isclose(total, data.sum()):
        raise SystemExit(f"The parts add up to {total}, the whole is {data.sum()}.")
    print(f"Total sum: {total}")


if __name__ == "__main__":
    main()
