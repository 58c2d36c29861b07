"""What Cognitive reads of tasks: how those of the last hours ended, and one task's own failures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from seedcore.cognitive.evidence import End, Subject
from seedcore.errors import ConflictError
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK

MOST_ENDS = 10_000
"""Newest tasks that are looked at; of a busier window only so many."""

BEFORE = 4
"""The time before the window that it is compared with, in windows."""

# Primary keys, which are in the order of submission: finished and dead by page, tasks, agents.
_ENDS = """
select case when t.domain is null then t.type else t.domain || '/' || t.type end as stream, e.ok, e.attempts, e.code,
       e.agent, a.host, extract(epoch from now() - t.created_at)::float8 as age_s
from (select * from (select id, true as ok, null as code, attempts, decision->>'agent' as agent from seedcore.finished
                     where id >= seedcore.first_id(now() - make_interval(secs => $1)) and status = 'completed'
                     order by id desc limit $2) f
      union all
      select * from (select id, false, error_code, attempts, decision->>'agent' from seedcore.dead
                     where id >= seedcore.first_id(now() - make_interval(secs => $1)) and error_code <> all($4::text[])
                     order by id desc limit $2) d
      order by id desc limit $2) e
join seedcore.tasks t on t.id = e.id left join seedcore.agents a on a.id = e.agent
where $3::uuid is null or e.id <> $3::uuid
"""

_HOST = "select host from seedcore.agents where id = $1"


@dataclass(frozen=True, slots=True)
class History:
    """How tasks ended; `oldest_s`: how far back that goes when there were more than are looked at."""

    ends: list[End]
    oldest_s: float | None


async def read_ends(database: Database, window_s: float, without: UUID | None = None) -> History:
    """Tasks that were submitted in the window or in BEFORE windows before it, and have ended."""
    async with database.connection() as connection:
        rows = await connection.fetch(_ENDS, window_s * (1 + BEFORE), MOST_ENDS, without, NOT_FAILURES_OF_THE_WORK)
    ends = [_end(row, window_s) for row in rows]
    full = len(ends) >= MOST_ENDS - 1
    return History(ends, max(row["age_s"] for row in rows) if full else None)


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
        host = None if agent is None else await connection.fetchval(_HOST, agent)
    stream = task.type if task.domain is None else f"{task.domain}/{task.type}"
    return Subject(stream, str(task_id), tuple(codes), agent, host)


def _codes(events: Sequence[Any]) -> list[str]:
    """Of a task that will be tried again."""
    return [str(event.data["code"]) for event in events if event.event == "retried" and "code" in event.data]


def _end(row: Any, window_s: float) -> End:
    return End(
        row["stream"], row["ok"], row["age_s"] <= window_s, row["attempts"], row["code"], row["agent"], row["host"]
    )
