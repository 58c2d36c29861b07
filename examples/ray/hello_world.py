"""Runs one task on the cluster: `python examples/ray/hello_world.py`."""

import ray

from seedcore.utils.ray_utils import ensure_ray_initialized


@ray.remote
def hello_world() -> str:
    return "Hello from Ray!"


def main() -> None:
    if not ensure_ray_initialized():
        raise SystemExit("There is no Ray here: set RAY_ADDRESS to ray://HOST:10001.")
    print(ray.get(hello_world.remote()))


if __name__ == "__main__":
    main()
