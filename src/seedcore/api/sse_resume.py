"""Resumes event streams after Last-Event-ID: reads the header, refuses ids of other databases, finds where to go on.

A task's events have numbers. The log of all tasks has positions (`tasks.events.event_log.Position`), because its events
become visible in another order than they are numbered in.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Header
from pydantic import BeforeValidator

from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.events.event_log import Position, check_reached


def _event_id(value: str | int) -> int:
    """The number in Last-Event-ID; 0, before the first event, when the header is empty or missing."""
    if isinstance(value, int) or not value:
        return value or 0
    if len(value) < 20 and value.isascii() and value.isdecimal() and int(value) < 2**63:
        return int(value)
    raise ValueError("not the id of an event of a task; leave it out to begin with its first one")


LastTaskEventId = Annotated[int, BeforeValidator(_event_id), Header()]
"""The id of the last event of the task that the client has seen."""


async def resume_task(database: Database, task_id: UUID, last_event_id: int, tenant: str | None) -> bool:
    """Whether a task's stream has events after `last_event_id`, or still may have; False: the client saw its last one.

    Raises:
        NotFoundError: there is no such task, or it is not one of `tenant` (None: of anybody).
        EventIdAheadError: this database has not reached that event.
    """
    async with database.connection() as connection:
        record = await queries.get(connection, task_id, tenant)
        await queries.check_reached(connection, last_event_id)
        return not record.status.ended or bool(await queries.events_of(connection, task_id, last_event_id))


async def resume_log(database: Database, last_event_id: str | None, default: Position | None) -> Position | None:
    """The position in the log of all tasks after `last_event_id`; `default` without one.

    Raises:
        InvalidInputError: it is not the id of an event of the log.
        EventIdAheadError: this database has not reached that event.
    """
    if not last_event_id:
        return default
    position = Position.parse(last_event_id)
    async with database.connection() as connection:
        await check_reached(connection, position)
    return position
