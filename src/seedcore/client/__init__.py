"""Typed client of SeedCore's HTTP API, sync and async; `seedcore.client.sql` submits inside your own transaction.

It needs httpx, pydantic and orjson only; it imports neither Ray nor a database driver.
"""

from seedcore.client.async_client import AsyncSeedCore
from seedcore.client.errors import SubmitManyError, TaskFailedError, UnexpectedResultError
from seedcore.client.models import (
    Decision,
    Event,
    LimitOption,
    NewTask,
    Options,
    QueueDepth,
    QueueState,
    RunOptions,
    Skill,
    Status,
    Task,
    TaskError,
)
from seedcore.client.sync_client import SeedCore

__all__ = [
    "AsyncSeedCore",
    "Decision",
    "Event",
    "LimitOption",
    "NewTask",
    "Options",
    "QueueDepth",
    "QueueState",
    "RunOptions",
    "SeedCore",
    "Skill",
    "Status",
    "SubmitManyError",
    "Task",
    "TaskError",
    "TaskFailedError",
    "UnexpectedResultError",
]
