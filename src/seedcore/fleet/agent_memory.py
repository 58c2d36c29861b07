"""An agent's private memory: keys to small JSON values in PostgreSQL, the same wherever the agent lives."""

import json
from typing import Any

import asyncpg

from seedcore.errors import InvalidInputError, TooLargeError
from seedcore.fleet.agent_registry import AgentBook
from seedcore.stores.postgres import Database, loads
from seedcore.utils.pg_json import unfit

MOST_BYTES = 64 * 1024
"""Keys and values of one agent together."""

MAX_KEY_BYTES = 512

# All of them: primary key agent_memory (scope, key).
_GET = "select value from seedcore.agent_memory where scope = $1 and key = $2"
# Nothing is written where all of the scope would be more than allowed; two writers at once may each just fit.
_SET = """
insert into seedcore.agent_memory (scope, key, value, bytes)
select $1, $2, $3::jsonb, $4::int
where $4::int + coalesce((select sum(bytes) from seedcore.agent_memory where scope = $1 and key <> $2), 0) <= $5::int
on conflict (scope, key) do update set value = excluded.value, bytes = excluded.bytes, updated = now()
returning key
"""
_DELETE = "delete from seedcore.agent_memory where scope = $1 and key = $2 returning key"


class AgentMemory:
    """The memory of one agent; see `seedcore.skills.SkillMemory`."""

    __slots__ = ("_agent_id", "_book", "_database")

    def __init__(self, database: Database, book: AgentBook, agent_id: str) -> None:
        self._database, self._book, self._agent_id = database, book, agent_id

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` when there is none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_GET, self._agent_id, _checked(key))
        return default if row is None else loads(row["value"])

    async def set(self, key: str, value: Any) -> None:
        """Keep a JSON value.

        Raises:
            TooLargeError: all that the agent keeps would be more than MOST_BYTES.
            InvalidInputError: it is not JSON, or the key is no text of 1 to MAX_KEY_BYTES bytes.
        """
        text = _encoded(value)
        size = len(_checked(key).encode()) + len(text.encode())
        try:
            async with self._database.connection() as connection:
                kept = await connection.fetchval(_SET, self._agent_id, key, text, size, MOST_BYTES)
        except asyncpg.DataError as error:
            raise _invalid("value", f"is nothing that PostgreSQL can keep: {error.args[0]}") from None
        if kept is None:
            raise TooLargeError(f"The memory of agent {self._agent_id} holds at most {MOST_BYTES} bytes: delete some.")
        self._book.has_memory(self._agent_id, self._agent_id)

    async def delete(self, key: str) -> bool:
        """Forget a key; True when there was one."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_DELETE, self._agent_id, _checked(key)) is not None


def _encoded(value: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid("value", f"must be JSON: {error}") from error
    if (reason := unfit(text)) is not None:
        raise _invalid("value", reason)
    return text


def _checked(key: str) -> str:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_KEY_BYTES or "\0" in key:
        raise _invalid("key", f"must be valid Unicode of 1 to {MAX_KEY_BYTES} bytes, without U+0000")
    return key


def _invalid(field: str, message: str) -> InvalidInputError:
    return InvalidInputError.for_field(field, message)
