"""Reads what the last process of a host or worker left in its journal, and reports the skills that it ended with."""

import fcntl
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from seedcore.fleet.quarantine_repository import QuarantinedSkill, record_deaths
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import RetryPolicy
from seedcore.stores.postgres import Database
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.telemetry.logs import get_logger
from seedcore.worker.execution.begun_journal import (
    BODY,
    CHECKSUM,
    ELSEWHERE,
    ENDED,
    HEADER,
    HEADER_BYTES,
    INCOMPLETE,
    MAGIC,
    MAX_RECORDS,
    NO_SESSION,
    RECORD_BYTES,
    RUNNING,
    boot_id,
)
from seedcore.worker.skill_catalog import longest_pause_s


class BegunCall(NamedTuple):
    """A call that had begun when a process ended; `running`: in that process, until then."""

    task_id: UUID
    token: int
    skill: str
    running: bool = True


class LastLife(NamedTuple):
    """What the journal of an ended process says: the session that it claimed with (None: it had none), and every call
    that had begun and whose end may not have been written."""

    session: UUID | None
    begun: list[BegunCall]


def last_life(path: Path) -> LastLife | None:
    """What the last process at this path has left. Call it before this process makes its own journal there.

    None when nothing can be said: there is no journal or no whole one, it is of an earlier boot, some calls could not
    be noted, or the process that writes it still lives.
    """
    try:
        with open(path, "rb", opener=_plain_file) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = file.read(HEADER_BYTES + MAX_RECORDS * RECORD_BYTES)
    except OSError:
        return None
    session = _session(content)
    if session is None:
        return None
    whole = range(HEADER_BYTES, len(content) - RECORD_BYTES + 1, RECORD_BYTES)
    found = [_call(content[at : at + RECORD_BYTES]) for at in whole if content[at]]
    return LastLife(None if session == NO_SESSION else session, [call for call in found if call is not None])


def last_session(life: LastLife | None, registry: SkillRegistry, settings: Settings) -> LastSession | None:
    """What `tasks.sessions.open_session` judges the leases of the last process by; None when nothing is known of it."""
    if life is None or life.session is None:
        return None

    def pause_s(skill: str, attempt: int) -> float:
        spec = registry.get(skill)
        return longest_pause_s(RetryPolicy() if spec is None else spec.retry, attempt, settings)

    return LastSession(life.session, {(call.task_id, call.token) for call in life.begun}, pause_s)


def read(path: Path) -> list[BegunCall]:
    """The calls that had begun in the last process at this path; none when nothing can be said."""
    life = last_life(path)
    return [] if life is None else life.begun


async def report_last_life(
    database: Database, settings: Settings, name: str, begun: Sequence[BegunCall]
) -> list[QuarantinedSkill]:
    """Report what was running when the last process of the host or worker `name` ended; call it before the first claim.

    Returns:
        The skills that are quarantined for it from now on.

    Raises:
        one of `stores.postgres.DATABASE_ERRORS`: call it again, what is reported twice counts once.
    """
    seen = [(call.skill, call.task_id, call.token) for call in begun if call.running]
    if not seen:
        return []
    log = get_logger("seedcore.worker.journal", host=name)
    log.warning("the last process ended while skills were running", skills=sorted({s for s, _, _ in seen})[:50])
    async with database.connection() as connection:
        caught = await record_deaths(
            connection, name, seen, poison_after=settings.poison_after, release_s=settings.poison_release_s
        )
    for skill in caught:
        log.error("skill is quarantined: it runs alone until then", **skill._asdict())
    return caught


def _plain_file(path: str, flags: int) -> int:
    # No link that another user has put there, and no pipe that would be waited for.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _session(content: bytes) -> UUID | None:
    """The session (or NO_SESSION); None when the file is not to be believed."""
    if len(content) < HEADER_BYTES or content[INCOMPLETE]:
        return None
    magic, boot, session, size = HEADER.unpack_from(content)
    (checksum,) = CHECKSUM.unpack_from(content, HEADER.size)
    if (magic, size) != (MAGIC, RECORD_BYTES) or checksum != zlib.crc32(content[: HEADER.size]):
        return None
    return UUID(bytes=session) if boot == boot_id().bytes else None


def _call(record: bytes) -> BegunCall | None:
    """The call of a record; None when there is none, or the record is damaged."""
    if record[0] not in (RUNNING, ENDED, ELSEWHERE):
        return None
    (checksum,) = CHECKSUM.unpack_from(record, 1)
    start = 1 + CHECKSUM.size
    token, task_id, size = BODY.unpack_from(record, start)
    body = record[start : start + BODY.size + size]
    if checksum != zlib.crc32(body) or len(body) != BODY.size + size:
        return None
    try:
        return BegunCall(
            UUID(task_id.decode()), token, body[BODY.size :].decode(errors="replace"), record[0] == RUNNING
        )
    except ValueError:
        return None
