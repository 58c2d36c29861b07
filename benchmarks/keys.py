"""What a key costs a request: none, one of the settings, and a stored one, in turns at one gateway process.

`python -m benchmarks.keys [--rounds 60] [--requests 200]` prints p50 and mean of each in µs, and what keys cost above
none: the median over rounds, each of which asks with all three. One connection, one request after the other.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.system import free_port
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate

SETTING_KEY = "key-of-the-settings"
PATH = "/api/v1/skills"


def main() -> int:
    """Start a gateway, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sck") as folder:
        Path(folder).chmod(0o755)
        server = embedded_postgres(load_settings(data_dir=Path(folder) / "data"))
        dsn = server.acquire()
        try:
            migrate(load_settings(data_dir=Path(folder) / "data", pg_dsn=dsn))
            print(json.dumps(measured(Path(folder), dsn, options.rounds, options.requests), indent=2))
        finally:
            server.release()
    return 0


def measured(folder: Path, dsn: str, rounds: int, requests: int) -> dict[str, object]:
    """The figures of one gateway process. Without API keys in the settings it also lets requests without one in."""
    port = free_port()
    # An approver's key is one of the settings, too.
    environment = os.environ | {
        "SEEDCORE_DATA_DIR": str(folder / "data"),
        "SEEDCORE_PG_DSN": dsn,
        "SEEDCORE_API_PORT": str(port),
        "SEEDCORE_APPROVER_KEYS": f"bench:{SETTING_KEY}",
    }
    gateway = subprocess.Popen([sys.executable, "-m", "seedcore.api"], env=environment)
    try:
        connection = connected(port)
        body = json.dumps({"name": "bench", "scopes": ["read"]})
        connection.request("POST", "/api/v1/keys", body, {"Content-Type": "application/json"})
        stored_key = json.loads(connection.getresponse().read())["key"]
        ways = {
            "none": {},
            "setting": {"Authorization": f"Bearer {SETTING_KEY}"},
            "stored": {"Authorization": f"Bearer {stored_key}"},
        }
        times: dict[str, list[list[float]]] = {name: [] for name in ways}
        for headers in ways.values():
            ask(connection, headers, requests)
        for turn in range(rounds):
            names = list(ways)
            for name in names[turn % 3 :] + names[: turn % 3]:
                times[name].append(ask(connection, ways[name], requests))
    finally:
        gateway.terminate()
        gateway.wait(20)
    medians = {name: [statistics.median(turn) for turn in turns] for name, turns in times.items()}
    figures: dict[str, object] = {"path": PATH, "rounds": rounds, "requests_a_turn": requests}
    for name, turns in times.items():
        every = sorted(second for turn in turns for second in turn)
        figures[name] = {
            "p50_us": round(statistics.median(every) * 1e6, 1),
            "p99_us": round(every[int(len(every) * 0.99)] * 1e6, 1),
            "mean_us": round(statistics.fmean(every) * 1e6, 1),
        }
    for name in ("setting", "stored"):
        above = [ours - none for ours, none in zip(medians[name], medians["none"], strict=True)]
        quartiles = statistics.quantiles(above, n=4)
        figures[f"{name}_above_none_us"] = {
            "median": round(quartiles[1] * 1e6, 1),
            "quartiles": [round(quartiles[0] * 1e6, 1), round(quartiles[2] * 1e6, 1)],
        }
    return figures


def connected(port: int) -> http.client.HTTPConnection:
    """A connection to the gateway, once it is ready."""
    until = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return connection
        except OSError:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def ask(connection: http.client.HTTPConnection, headers: dict[str, str], times: int) -> list[float]:
    """The seconds of so many requests."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        connection.request("GET", PATH, headers=headers)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - began)
        if answer.status != 200:
            raise RuntimeError(f"{PATH} answered {answer.status}")
    return taken


if __name__ == "__main__":
    sys.exit(main())
