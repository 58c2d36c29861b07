"""Awa (awa-pg): Rust core, Python handlers, 1,024 workers, claims of 512."""

import asyncio
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from benchmarks.queue.common import Drain, run, timed_drain

WORKERS, CLAIM, CHUNK = 1024, 512, 1000


@dataclass
class Noop:
    """A job of the same size as the others'."""

    seq: int
    b: str = "x" * 40


def _socket_as_host(dsn: str) -> str:
    """Rust's URLs want a socket's folder where the host stands."""
    parts = urlsplit(dsn)
    folder = parse_qs(parts.query).get("host", [""])[0]
    if parts.hostname or not folder.startswith("/"):
        return dsn
    return f"{parts.scheme}://{parts.username or 'postgres'}@{quote(folder, safe='')}{parts.path}"


async def drain(dsn: str, jobs: int) -> Drain:
    """Enqueue by COPY, run until every job is terminal."""
    import awa

    client = awa.AsyncClient(_socket_as_host(dsn), max_connections=20)
    await client.migrate()
    await client.install_queue_storage(schema="awa", reset=True)

    count = 0

    @client.task(Noop, queue="q")
    async def noop(_job: object) -> None:
        """Only count."""
        nonlocal count
        count += 1

    async def insert() -> None:
        for start in range(0, jobs, CHUNK):
            batch = [Noop(n) for n in range(start, min(start + CHUNK, jobs))]
            await client.enqueue_many_copy(batch, queue="q")

    async def work() -> None:
        queue = {"name": "q", "max_workers": WORKERS, "claim_batch_size": CLAIM}
        await client.start([queue], poll_interval_ms=20, queue_storage_schema="awa")
        await asyncio.Event().wait()

    left = f"select (select count(*) from awa.terminal_jobs) < {jobs:d}"
    result = await timed_drain("awa-pg", dsn, jobs, insert, work, left, handled=lambda: count >= jobs)
    await client.shutdown(timeout_ms=3000)
    return result


if __name__ == "__main__":
    run("awa", drain, uvloop=False)
