"""Typed client of SeedCore's HTTP API, sync and async; `seedcore.client.sql` submits inside your own transaction.

It needs httpx, pydantic and orjson alone: neither Ray nor a database driver is imported.
"""

from seedcore.client.aio import AsyncSeedCore
from seedcore.client.errors import SubmitManyError, TaskFailedError, UnexpectedResultError
from seedcore.client.model import (
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
from seedcore.client.sync import SeedCore

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
