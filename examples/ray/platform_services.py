"""Uses a cache, a database and a stream on the cluster: `python examples/ray/platform_services.py [TEXT ...]`.

Redis (REDIS_URL) caches results, PostgreSQL (SEEDCORE_PG_DSN) stores each result once, and Kafka
(KAFKA_BOOTSTRAP_SERVERS, with `pip install 'seedcore[kafka]'`) receives new results; without it nothing is published.

The actor opens its own connections, because connections cannot be sent to it. The cache key is a digest, because
Python's `hash` differs between processes.
"""

import hashlib
import importlib.util
import json
import os
import sys
from typing import Any

import ray

from seedcore.utils.ray_utils import ensure_ray_initialized

TOPIC = "processed-data"
TABLE = """create table if not exists processed_data (
    id text primary key, data text not null, result jsonb not null, at timestamptz not null default now())"""
KEEP_S = 3600


@ray.remote(num_cpus=0.1)
class Platform:
    """Connections to the services, in one process of the cluster."""

    def __init__(self, redis_url: str, dsn: str, kafka: str) -> None:
        import psycopg
        import redis

        self._redis = redis.Redis.from_url(redis_url, decode_responses=True)
        self._database = psycopg.connect(dsn, autocommit=True)
        self._database.execute(TABLE)
        self._kafka: Any = None
        if kafka:
            from kafka import KafkaProducer

            self._kafka = KafkaProducer(bootstrap_servers=kafka.split(","))

    def process(self, data: str) -> dict[str, object]:
        """Word counts of the text, and whether they were cached and published."""
        key = hashlib.sha256(data.encode()).hexdigest()
        cached = self._redis.get(f"processed:{key}")
        if cached is not None:
            return {"result": json.loads(cached), "cached": True, "published": False}
        result = count_words(data)
        text = json.dumps(result)
        inserted = self._database.execute(
            "insert into processed_data (id, data, result) values (%s, %s, %s) on conflict do nothing",
            (key, data, text),
        )
        published = self._kafka is not None and inserted.rowcount == 1
        if published:
            self._kafka.send(TOPIC, key=key.encode(), value=text.encode()).get(timeout=10)
        self._redis.setex(f"processed:{key}", KEEP_S, text)
        return {"result": result, "cached": False, "published": published}


def count_words(text: str) -> dict[str, int]:
    """How often each word occurs."""
    words = text.lower().split()
    return {word: words.count(word) for word in sorted(set(words))}


def main(texts: list[str]) -> int:
    missing = [name for name in ("REDIS_URL", "SEEDCORE_PG_DSN") if not os.environ.get(name)]
    if missing:
        print(f"Set {' and '.join(missing)}.", file=sys.stderr)
        return 2
    kafka = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    if kafka and importlib.util.find_spec("kafka") is None:
        print(
            "KAFKA_BOOTSTRAP_SERVERS needs kafka-python: pip install 'seedcore[kafka]', also on the nodes.",
            file=sys.stderr,
        )
        return 2
    if not kafka:
        print("KAFKA_BOOTSTRAP_SERVERS is not set: results are stored, but not published.", file=sys.stderr)
    if not ensure_ray_initialized():
        print("There is no Ray here: set RAY_ADDRESS to ray://HOST:10001.", file=sys.stderr)
        return 1
    platform = Platform.remote(os.environ["REDIS_URL"], os.environ["SEEDCORE_PG_DSN"], kafka)
    for answer in ray.get([platform.process.remote(text) for text in texts]):
        print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["the quick brown fox jumps over the lazy dog"]))
