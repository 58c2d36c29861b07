"""The skill that chaos runs: it sleeps, and writes what it does into a journal of the benchmark's own.

The journal is written by the skill alone, so it says which attempts ran, whatever the engine's tables say. A line
that was written survives the process: it is the kernel's before the write returns.
"""

import asyncio
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, skill

NAME = "chaos.work"
APART = "chaos.apart"
"""The same work in an organ that has a host of its own: others' agents may live in workers."""

NAMES = (NAME, APART)
ORGANS = """
organs:
  utility: {agents: 8}
  ml: {agents: 8}
  apart: {agents: 2, num_cpus: 0.01}
"""
JOURNAL = "CHAOS_JOURNAL"
"""The environment variable that names the journal's file."""

TIMEOUT_S = 15.0
"""More than the longest sleep and the longest stop together, so that a stopped host alone fails nothing."""


class Work(BaseModel):
    """What to do: `n` tells tasks apart, `sleep_ms` is how long it takes."""

    n: int
    sleep_ms: int = Field(ge=0, le=10_000)


class Done(BaseModel):
    """Which run made this result: `run` is new for every execution, `token` is the lease it ran under."""

    run: str
    token: int
    attempt: int


@skill(NAME, organ="utility", timeout_s=TIMEOUT_S)
async def work(params: Work, context: SkillContext) -> Done:
    """Sleep, and leave a line at the beginning and one at the end."""
    return await _work(params, context)


@skill(APART, organ="apart", timeout_s=TIMEOUT_S)
async def work_apart(params: Work, context: SkillContext) -> Done:
    """As `work`."""
    return await _work(params, context)


async def _work(params: Work, context: SkillContext) -> Done:
    run = uuid4().hex
    note("begin", run, task=context.task_id, token=context.lease_token, attempt=context.attempt)
    try:
        await asyncio.sleep(params.sleep_ms / 1000)
    except asyncio.CancelledError:
        note("cut", run)
        raise
    note("end", run)
    return Done(run=run, token=context.lease_token, attempt=context.attempt)


def organs_file(folder: Path) -> Path:
    """Write the organs file of chaos."""
    path = folder / "organs.yaml"
    path.write_text(ORGANS)
    return path


def note(what: str, run: str, **facts: Any) -> None:
    """Write a line into the journal."""
    line = json.dumps({"what": what, "run": run, "at": time.time(), "pid": os.getpid(), **facts})
    os.write(_journal(), f"{line}\n".encode())


@cache
def _journal() -> int:
    # O_APPEND: lines of several hosts, also of one that was thought dead, never overwrite each other.
    return os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
