"""The same fleet twice, for real: 16 agents with measured sleeps on a running SeedCore, and as 16 Ray Serve replicas.

Every agent does one task after the other. Arrivals, kinds and luck are the same; SeedCore routes by ΔE with rates that
it learns, Serve by power of two choices. A response counts from the moment it was due to the end, in the second half.
"""

import asyncio
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

from benchmarks.routing.fleet import AGENTS, MEANS, MIX, arrivals
from benchmarks.routing.instance import capacity
from benchmarks.routing.parts import Table
from benchmarks.system import System

LOAD, SECONDS, TICK_S = 0.8, 90.0, 0.025
ORGANS = f"""
organs:
  utility: {{description: small skills, agents: 2, hosts: 1}}
  ml: {{description: skills that ask ML, agents: 2, hosts: 1}}
  bench: {{description: the fleet, agents: {AGENTS}, hosts: 1, limits: {{agent_concurrency: 1}}}}
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
    with tempfile.TemporaryDirectory() as folder:
        # Serve logs to standard output.
        answer = Path(folder) / "responses.json"
        command = [sys.executable, "-m", "benchmarks.routing.serve_peer", str(rate), str(SECONDS), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise RuntimeError(f"Ray Serve's part failed:\n{done.stderr[-2000:]}")
        return list(json.loads(answer.read_text()))


def _seedcore(rate: float) -> tuple[list[float], dict[str, Any]]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as organs:
        organs.write(ORGANS)
        organs.flush()
        settings = {"SEEDCORE_SKILLS": "benchmarks.routing.skills", "SEEDCORE_ORGANS_PATH": organs.name}
        # All agents are new, and none is to be kept for the proved ones: each may be the best at something.
        with System(**settings, SEEDCORE_SCOUT_SHARE="0.5", PYTHONPATH=path) as system:
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
    ends: dict[str, float] = {}
    deadline = time.monotonic() + 600
    while len(ends) < len(due_of):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(due_of) - len(ends)} of {len(due_of)} tasks have not ended")
        await asyncio.sleep(2)
        ends, cursor = {}, None
        while True:
            query = {"status": "completed", "limit": 500} | ({} if cursor is None else {"cursor": cursor})
            page = (await client.get("/api/v1/tasks", params=query)).raise_for_status().json()
            for task in page["items"]:
                if task["id"] in due_of:
                    ends[task["id"]] = datetime.fromisoformat(task["finished_at"]).timestamp()
            if (cursor := page["next_cursor"]) is None:
                break
    return [ends[task_id] - due for task_id, due in due_of.items()]
