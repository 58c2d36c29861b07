"""`python -m benchmarks.fairness`: fair shares, on an embedded PostgreSQL of its own.

drain: no-ops of 1, 10 and 100 tenants against those of `default` alone, in turns; and PgQueuer where it is installed.
shares: 100 equal tenants, of whom one has a million tasks and 99 have 200 each; the small ones without it, too.
weights: three tenants with weights 1, 2 and 4.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from uvloop import run as uvloop_run

from benchmarks.queue.common import fresh_database
from benchmarks.queue.engine import BATCH, WORKERS, connect, noop
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.tasks import leases, sessions, tenants
from seedcore.tasks.claims.claim_cursor import ClaimCursor

PARTS = ("drain", "shares", "weights")
TENANTS = (0, 1, 10, 100)
BIG, SMALL_TASKS, SMALL_TENANTS = 1_000_000, 200, 99
BIG_NAME = "aaa-big"

# Tasks of many tenants, mixed: of $2 tenants in turns, or of the one named $3.
PRELOAD = """
with new as (
  insert into seedcore.tasks (id, type, params, max_attempts, tenant)
  select seedcore.new_id(), 'noop', '{"op": "noop", "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}', 5,
         coalesce($3::text, case when $2 = 0 then 'default' else 't' || lpad((n % $2)::text, 3, '0') end)
  from generate_series(1, $1::int) n returning id, queue, tenant)
insert into seedcore.ready (id, queue, rank, tenant) select id, queue, 0, tenant from new
"""


class Service:
    """When tasks of whom were claimed, in seconds since the start."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.claims: list[tuple[float, Counter[str]]] = []
        self.done = 0

    def note(self, claimed: Counter[str]) -> None:
        """A claim was answered."""
        self.claims.append((time.perf_counter() - self.began, claimed))
        self.done += claimed.total()


async def work(connection: asyncpg.Connection, service: Service, most: int | None = None) -> None:
    """Claim and end until nothing is left, or until so many are claimed by all."""
    session, cursor = uuid4(), ClaimCursor(60.0)
    await sessions.open_session(connection, session, "bench", "default", 3600)
    claimed = await leases.claim(connection, "default", session, BATCH, cursor=cursor)
    while claimed:
        service.note(Counter(lease.tenant for lease in claimed))
        outcomes = [await noop(lease) for lease in claimed]
        if most is not None and service.done >= most:
            await leases.finish(connection, outcomes)
            return
        _, claimed = await leases.finish_and_claim(connection, outcomes, "default", session, BATCH, cursor=cursor)


async def database(server: str, name: str = "drain") -> list[asyncpg.Connection]:
    """The workers' connections to a new, migrated database."""
    dsn = await fresh_database(server, f"bench_fairness_{name}")
    await asyncio.to_thread(migrate, load_settings(pg_dsn=dsn))
    return [await connect(dsn) for _ in range(WORKERS)]


async def run(connections: Sequence[asyncpg.Connection], most: int | None = None) -> Service:
    """All workers at once."""
    service = Service()
    await asyncio.gather(*[work(connection, service, most) for connection in connections])
    return service


def processor_s(pids: Sequence[int]) -> float:
    """What this process and PostgreSQL's for its connections have used of the processor."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


async def drain(server: str, jobs: int, rounds: int) -> list[dict[str, Any]]:
    """Rates and processor time a task, each number of tenants once a round; ratios are of the same round."""
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for n in range(rounds):
        print(f"drain, round {n + 1} of {rounds}", file=sys.stderr, flush=True)
        for count in TENANTS:
            connections = await database(server)
            await connections[0].execute(PRELOAD, jobs, count, None)
            await connections[0].execute("vacuum analyze")
            await connections[0].execute("checkpoint")
            pids = [connection.get_server_pid() for connection in connections]
            used, began = processor_s(pids), time.perf_counter()
            service = await run(connections)
            seconds, used = time.perf_counter() - began, processor_s(pids) - used
            assert service.done == jobs, f"{service.done} of {jobs}"
            rows[str(count) if count else "none"].append((jobs / seconds, 1e6 * used / jobs))
            for connection in connections:
                await connection.close()
    found = []
    for name, runs in rows.items():
        found.append(
            {
                "tenants": name,
                "tasks_per_s": round(statistics.median(rate for rate, _ in runs)),
                "ratio": round(statistics.median(r / b for (r, _), (b, _) in zip(runs, rows["none"], strict=True)), 3),
                "processor_us": round(statistics.median(used for _, used in runs), 1),
                "processor_ratio": round(
                    statistics.median(b / u for (_, u), (_, b) in zip(runs, rows["none"], strict=True)), 3
                ),
            }
        )
    return found


def jain(counts: Sequence[float]) -> float:
    """1 when all got the same, 1/n when one got all (Jain, Chiu and Hawe, 1984)."""
    return sum(counts) ** 2 / (len(counts) * sum(c * c for c in counts))


def while_all_have_work(service: Service, has: dict[str, int]) -> Counter[str]:
    """What each got until the first one had no more."""
    got = Counter[str]()
    for _, claimed in service.claims:
        got += claimed
        if any(got[name] >= has[name] for name in has):
            break
    return got


def waits(service: Service, small: Sequence[str]) -> list[float]:
    """How long each task of these waited for its claim, in seconds."""
    names = set(small)
    return [at for at, claimed in service.claims for name, n in claimed.items() if name in names for _ in range(n)]


async def shares(server: str, big: int, rounds: int, folder: Path | None) -> dict[str, Any]:
    """The small ones beside a big one, and alone, in turns; medians."""
    names = [f"t{n:03}" for n in range(SMALL_TENANTS)]
    most = (SMALL_TENANTS + 2) * SMALL_TASKS + 2 * WORKERS * BATCH
    cases = {case: await database(server, case) for case in ("alone", "beside")}
    for _ in range(0, big, 100_000):
        await cases["beside"][0].execute(PRELOAD, min(big, 100_000), 1, BIG_NAME, timeout=600)
    seen: dict[str, Service] = {}
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for n in range(rounds):
        print(f"shares, round {n + 1} of {rounds}", file=sys.stderr, flush=True)
        for case, connections in cases.items():
            beside = case == "beside"
            await connections[0].execute(PRELOAD, SMALL_TENANTS * SMALL_TASKS, SMALL_TENANTS, None)
            await connections[0].execute("vacuum analyze", timeout=600)
            await connections[0].execute("checkpoint")
            seen[case] = service = await run(connections, most if beside else None)
            has = dict.fromkeys(names, SMALL_TASKS) | ({BIG_NAME: big} if beside else {})
            got = while_all_have_work(service, has)
            waited = sorted(waits(service, names))
            assert len(waited) == SMALL_TENANTS * SMALL_TASKS, f"{len(waited)} of the small ones' tasks"
            rows[case].append(
                {
                    "jain": round(jain([got[name] for name in has]), 4),
                    "counted": got.total(),
                    "p50_ms": round(1000 * statistics.median(waited), 1),
                    "p99_ms": round(1000 * waited[int(0.99 * len(waited))], 1),
                    "tasks_per_s": round(service.done / service.claims[-1][0]),
                }
            )
    result: dict[str, Any] = {"big": big, "small": [SMALL_TENANTS, SMALL_TASKS], "rounds": rounds}
    for case, runs in rows.items():
        result[case] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        result[case] |= {"least_jain": min(run["jain"] for run in runs), "p99s_ms": [run["p99_ms"] for run in runs]}
    ratios = [b["p99_ms"] / a["p99_ms"] for a, b in zip(rows["alone"], rows["beside"], strict=True)]
    result["p99_ratio"] = round(statistics.median(ratios), 3)
    for connections in cases.values():
        for connection in connections:
            await connection.close()
    if folder is not None:
        result["plot"] = str(plot(seen, folder, big))
    return result


def plot(seen: dict[str, Service], folder: Path, big: int) -> Path:
    """What each tenant has got over time, with the big one beside the small ones."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "seedcore"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8.4, 3.4))
    times, sums = [0.0], defaultdict[str, list[int]](lambda: [0])
    names = sorted({name for _, claimed in seen["beside"].claims for name in claimed})
    for at, claimed in seen["beside"].claims:
        times.append(at)
        for name in names:
            sums[name].append(sums[name][-1] + claimed[name])
    for name in names[1:]:
        axes[0].plot(
            times, sums[name], color="0.6", linewidth=0.4, label="99 with 200 tasks" if name == names[1] else None
        )
    axes[0].plot(times, sums[names[0]], "k-", linewidth=1.4, label=f"one with {big:,}")
    axes[0].set(
        xlabel="s since the start", ylabel="tasks claimed", title="100 equal tenants", ylim=(0, 3 * SMALL_TASKS)
    )
    for case, style in (("alone", "k:"), ("beside", "k-")):
        waited = sorted(waits(seen[case], names[1:]))
        shown = [n / len(waited) for n in range(1, len(waited) + 1)]
        label = "without the big one" if case == "alone" else "with it"
        axes[1].plot(waited, shown, style, linewidth=1.2, label=label)
    axes[1].set(xlabel="wait, s", ylabel="share of tasks", title="waits of the 99 small ones")
    for each in axes:
        each.grid(alpha=0.3)
        each.legend(fontsize=7)
    figure.tight_layout()
    path = folder / "fair-shares.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


async def weights(server: str) -> dict[str, float]:
    """Shares of three tenants with backlogs, relative to their weights."""
    connections = await database(server)
    given = {"t000": 1, "t001": 2, "t002": 4}
    for name, weight in given.items():
        await tenants.put(connections[0], name, weight)
    await connections[0].execute(PRELOAD, 90_000, 3, None)
    service = await run(connections, 40_000)
    got = while_all_have_work(service, dict.fromkeys(given, 30_000))
    for connection in connections:
        await connection.close()
    return {name: round(got[name] / got.total() / (weight / 7), 4) for name, weight in given.items()}


async def measure(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """The parts that were asked for."""
    found: dict[str, Any] = {}
    if "drain" in options.parts:
        found["drain"] = await drain(server, options.jobs, options.rounds)
        if importlib.util.find_spec("pgqueuer"):
            found["pgqueuer"] = await _pgqueuer(server, options.jobs)
        else:
            print("pgqueuer is not installed (pip install -e '.[bench]'): left out", file=sys.stderr)
    if "shares" in options.parts:
        found["shares"] = await shares(server, options.big, options.rounds, options.plot)
    if "weights" in options.parts:
        found["weights"] = await weights(server)
    return found


async def _pgqueuer(server: str, jobs: int) -> dict[str, Any]:
    from benchmarks.queue import pgqueuer

    drained = await pgqueuer.drain(await fresh_database(server, "bench_pgqueuer"), jobs)
    return {"tasks_per_s": round(drained.jobs_per_s)}


def main() -> int:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--big", type=int, default=BIG)
    parser.add_argument("--plot", type=Path, help="write fair-shares.svg into this folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scf"))
    server = embedded_postgres(load_settings(data_dir=folder / "data"))
    try:
        print(json.dumps(uvloop_run(measure(server.acquire(), options)), indent=1))
    finally:
        server.release()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
