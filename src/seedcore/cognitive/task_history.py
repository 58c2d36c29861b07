"""What Cognitive reads of tasks: how those of the last hours ended, and one task's own failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from seedcore.cognitive.engines.offline.evidence import End, Subject
from seedcore.errors import ConflictError
from seedcore.fleet.agent_reads import hosts_of
from seedcore.stores.postgres import Database
from seedcore.tasks import history, queries

MOST_ENDS = 10_000
"""Newest tasks that are looked at; of a busier window only so many."""

BEFORE = 4
"""The time before the window that it is compared with, in windows."""


@dataclass(frozen=True, slots=True)
class History:
    """How tasks ended; `oldest_s`: how far back that goes when there were more than are looked at."""

    ends: list[End]
    oldest_s: float | None


async def read_ends(database: Database, window_s: float, without: UUID | None = None) -> History:
    """Tasks that were submitted in the window or in BEFORE windows before it, and have ended."""
    async with database.connection() as connection:
        found = await history.recent_ends(connection, window_s * (1 + BEFORE), MOST_ENDS, without)
        hosts = await hosts_of(connection, {end.agent for end in found if end.agent is not None})
    ends = [_end(end, hosts, window_s) for end in found]
    full = len(ends) >= MOST_ENDS - 1
    return History(ends, max(end.age_s for end in found) if full else None)


async def read_task(database: Database, task_id: UUID) -> Subject:
    """A task's failed attempts and who ran the last one.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: none of its attempts failed.
    """
    async with database.connection() as connection:
        task = await queries.get(connection, task_id)
        codes = [str(error.get("code")) for error in task.errors]
        if not codes:
            codes = _codes(await queries.events_of(connection, task_id))
        if not codes:
            raise ConflictError(f"No attempt of task {task_id} has failed: it is {task.status}.")
        agent = (task.decision or {}).get("agent")
        host = None if agent is None else (await hosts_of(connection, [agent])).get(agent)
    stream = task.type if task.domain is None else f"{task.domain}/{task.type}"
    return Subject(stream, str(task_id), tuple(codes), agent, host)


def _codes(events: Sequence[Any]) -> list[str]:
    """Of a task that will be tried again."""
    return [str(event.data["code"]) for event in events if event.event == "retried" and "code" in event.data]


def _end(end: history.TaskEnd, hosts: Mapping[str, str], window_s: float) -> End:
    host = None if end.agent is None else hosts.get(end.agent)
    return End(end.stream, end.ok, end.age_s <= window_s, end.attempts, end.code, end.agent, host)
