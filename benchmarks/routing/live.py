"""The same fleet twice, for real: 16 agents with measured sleeps on a running SeedCore, and as 16 Ray Serve replicas.

Every agent does one task after the other. Arrivals, kinds and luck are the same; SeedCore routes by ΔE with rates that
it learns, Serve by power of two choices. A response counts from the moment the task was due to its end, and only tasks
of the second half count: the first is for learning. Each side has a time limit, and says how far it is.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.routing.fleet import AGENTS, MEANS, MIX, arrivals
from benchmarks.routing.instance import capacity
from benchmarks.routing.parts import Table
from benchmarks.system import System

LOAD, SECONDS, TICK_S = 0.8, 60.0, 0.025
PEER_S, DRAIN_S = 360.0, 120.0
"""Longest time of all of Ray Serve's part, and of SeedCore's from the last arrival to the last end."""

ORGANS = f"""
organs:
  utility: {{description: small skills, agents: 2}}
  ml: {{description: skills that ask ML, agents: 2}}
  bench: {{description: the fleet, agents: {AGENTS}, limits: {{agent_concurrency: 1}}}}
"""


def measure() -> list[Table]:
    """Mean and p99 of both, in seconds, and the ratio of the means; and how true SeedCore's expectations were."""
    rate = LOAD * capacity(np.array(MEANS), np.array(MIX))
    table = Table(f"live, load {LOAD:g}, {AGENTS} agents", ["mean", "p99", "to Ray Serve's mean"])
    true = Table("live, realised to expected", ["seconds", "ΔE", "outcomes"], unit="")
    peer = _late(_serve(rate))
    responses, told = _seedcore(rate)
    ours = _late(responses)
    true.rows["SeedCore, energy"] = [told["seconds_ratio"], told["delta_ratio"], told["outcomes"]]
    table.rows["SeedCore, energy"] = [mean(ours), float(np.quantile(ours, 0.99)), mean(ours) / mean(peer)]
    table.rows["Ray Serve, power of two choices"] = [mean(peer), float(np.quantile(peer, 0.99)), 1.0]
    return [table, true]


def _late(responses: list[float]) -> list[float]:
    return responses[len(responses) // 2 :]


def _serve(rate: float) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="scr", ignore_cleanup_errors=True) as folder:
        # Serve logs to standard output.
        answer, log = Path(folder) / "responses.json", Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.routing.serve_peer", str(rate), str(SECONDS), str(answer)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDCORE_", "RAY_"))}
        with log.open("wb") as out:
            peer = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
            try:
                if peer.wait(PEER_S):
                    raise RuntimeError("Ray Serve's part failed")
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                raise RuntimeError(f"{error}:\n{log.read_text(errors='replace')[-2000:]}") from error
            finally:
                _end(peer.pid, folder)
                peer.wait(10)
        return list(json.loads(answer.read_text()))


def _end(peer: int, folder: str) -> None:
    """The peer and its Ray, whose processes name its folder."""
    family: list[psutil.Process] = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid == peer or folder in " ".join(process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                family += [process, *process.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, 10)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _seedcore(rate: float) -> tuple[list[float], dict[str, Any]]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as organs:
        organs.write(ORGANS)
        organs.flush()
        settings = {"SEEDCORE_SKILLS": "benchmarks.routing.skills", "SEEDCORE_ORGANS_PATH": organs.name}
        _say("SeedCore starts")
        with System(**settings, PYTHONPATH=path) as system:
            _say(f"SeedCore: {SECONDS:g} s of arrivals")
            responses = asyncio.run(_drive(system, rate))
            return responses, _calibration(system)


def _calibration(system: System) -> dict[str, Any]:
    """What the ledger says of the run; it is written within seconds of further questions."""
    deadline = time.monotonic() + 60
    while (found := system.get("/energy/metrics")["overall"]) is None:
        if time.monotonic() > deadline:
            raise RuntimeError("the ledger holds nothing")
        httpx.post(f"{system.url}/api/v1/tasks", json={"type": "echo", "params": {"value": 1}}, timeout=30)
        time.sleep(2)
    return dict(found)


async def _drive(system: System, rate: float) -> list[float]:
    due_of: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
        began, left = time.time(), arrivals(rate, SECONDS)
        while left:
            now = time.time() - began
            batch = [one for one in left if one[0] <= now]
            if batch:
                left = left[len(batch) :]
                tasks = [
                    {"type": f"bench.kind{kind}", "params": {"kind": kind, "luck": luck}} for _, kind, luck in batch
                ]
                answer = await client.post("/api/v1/tasks/batch", json={"tasks": tasks})
                ids = answer.raise_for_status().json()["ids"]
                due_of |= {task_id: began + at for task_id, (at, _, _) in zip(ids, batch, strict=True)}
            await asyncio.sleep(TICK_S)
        return await _responses(client, due_of)


async def _responses(client: httpx.AsyncClient, due_of: dict[str, float]) -> list[float]:
    """Response times in the order of arrival, once all have ended."""
    deadline = time.monotonic() + DRAIN_S
    while len(ends := await _ends(client)) < len(due_of):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(due_of) - len(ends)} of {len(due_of)} tasks have not ended")
        await asyncio.sleep(3)
    return [ends[task_id] - due for task_id, due in due_of.items()]


async def _ends(client: httpx.AsyncClient) -> dict[str, float]:
    """When each task of the fleet ended."""
    ends: dict[str, float] = {}
    query: dict[str, Any] = {"status": "completed", "limit": 500}
    while True:
        page = (await client.get("/api/v1/tasks", params=query)).raise_for_status().json()
        for task in page["items"]:
            if task["type"].startswith("bench."):
                ends[task["id"]] = datetime.fromisoformat(task["finished_at"]).timestamp()
        if page["next_cursor"] is None:
            return ends
        query["cursor"] = page["next_cursor"]
