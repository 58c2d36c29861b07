"""The private memory of an agent: keys to small JSON values in PostgreSQL, the same on every host."""

import json

import asyncpg

from seedcore.errors import InvalidInputError, TooLargeError
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.stores.postgres import Database, loads
from seedcore.utils.pg_json import unfit

MAX_BYTES = 64 * 1024
"""Keys and values of one agent together."""

MAX_KEY_BYTES = 512

# Every statement uses the primary key agent_memory (scope, key).
_GET = "select value from seedcore.agent_memory where scope = $1 and key = $2"
# Writes nothing when the scope would exceed its limit; two concurrent writers may each just fit.
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

    __slots__ = ("_agent_id", "_database", "_registry")

    def __init__(self, database: Database, registry: AgentRegistry, agent_id: str) -> None:
        self._database, self._registry, self._agent_id = database, registry, agent_id

    async def get(self, key: str, default: object = None) -> object:
        """The value, or `default` when there is none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_GET, self._agent_id, _checked(key))
        return default if row is None else loads(row["value"])

    async def set(self, key: str, value: object) -> None:
        """Store a JSON value.

        Raises:
            TooLargeError: the agent would store more than MAX_BYTES.
            InvalidInputError: the value is not JSON, or the key is not a text of 1 to MAX_KEY_BYTES bytes.
        """
        text = _encoded(value)
        size = len(_checked(key).encode()) + len(text.encode())
        try:
            async with self._database.connection() as connection:
                kept = await connection.fetchval(_SET, self._agent_id, key, text, size, MAX_BYTES)
        except asyncpg.DataError as error:
            raise InvalidInputError.for_field("value", f"PostgreSQL cannot store it: {error.args[0]}") from None
        if kept is None:
            raise TooLargeError(f"Agent {self._agent_id} can store at most {MAX_BYTES} bytes: delete some keys.")
        self._registry.set_memory_scope(self._agent_id, self._agent_id)

    async def delete(self, key: str) -> bool:
        """Delete a key; True when it existed."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_DELETE, self._agent_id, _checked(key)) is not None


def _encoded(value: object) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.for_field("value", f"must be JSON: {error}") from error
    if (reason := unfit(text)) is not None:
        raise InvalidInputError.for_field("value", reason)
    return text


def _checked(key: str) -> str:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_KEY_BYTES or "\0" in key:
        raise InvalidInputError.for_field("key", f"must be valid Unicode of 1 to {MAX_KEY_BYTES} bytes, without U+0000")
    return key
