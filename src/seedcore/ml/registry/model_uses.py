"""Who uses a version: aliases, promotions and running jobs. What is used is not deleted."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError
from seedcore.ml.registry.aliases import StoredAlias, clear_alias, lock_model
from seedcore.ml.registry.model_store import ModelStore
from seedcore.stores.postgres import Database
from seedcore.tasks import queries

_NOTE = "insert into seedcore.model_uses (task_id, name, version) values ($1, $2, $3) on conflict do nothing"
_END = "delete from seedcore.model_uses where task_id = any($1::uuid[])"
_USES = "select task_id, version from seedcore.model_uses where name = $1"
_ALIASES = "select alias, version from seedcore.model_aliases where name = $1"
_PROMOTIONS = """
select champion, candidate, status from seedcore.promotions
where name = $1 and (status = 'shadowing' or (status = 'promoted' and watch_until > now()))
"""


async def note_use(connection: asyncpg.Connection, task_id: UUID, name: str, version: int) -> None:
    """Say that a task works with a version; it counts until the task has ended."""
    await lock_model(connection, name)
    await connection.execute(_NOTE, task_id, name, version)


async def end_uses(connection: asyncpg.Connection, task_ids: Sequence[UUID]) -> None:
    """Say that tasks work with no version any more; those that have ended count for nothing anyway."""
    await connection.execute(_END, list(task_ids))


async def uses(connection: asyncpg.Connection, name: str) -> tuple[dict[int, list[StoredAlias]], dict[int, list[str]]]:
    """(aliases by version, what else uses a version, in words)."""
    aliases: defaultdict[int, list[StoredAlias]] = defaultdict(list)
    others: defaultdict[int, list[str]] = defaultdict(list)
    for alias, version in await connection.fetch(_ALIASES, name):
        aliases[version].append(alias)
    for champion, candidate, status in await connection.fetch(_PROMOTIONS, name):
        what = "an open promotion" if status == "shadowing" else "a promotion that may still be rolled back"
        for version in (champion, candidate):
            if version is not None:
                others[version].append(what)
    noted = await connection.fetch(_USES, name)
    running = await queries.unfinished(connection, [row["task_id"] for row in noted]) if noted else set()
    if over := [row["task_id"] for row in noted if row["task_id"] not in running]:
        await end_uses(connection, over)
    for task_id, version in noted:
        if task_id in running:
            others[version].append(f"the job {task_id}")
    return aliases, others


async def delete_versions(
    database: Database, store: ModelStore, name: str, version: int | None = None, *, force: bool = False
) -> list[int]:
    """Delete one version, or all of `name`; the numbers deleted. Aliases cannot be set to them meanwhile.

    Args:
        database: where aliases are.
        store: where versions are.
        name: of the model.
        version: the one to delete; None: all.
        force: also delete what an alias means, and the alias.

    Raises:
        NotFoundError: there is nothing to delete.
        ConflictError: an alias, a promotion or a running job uses one of them.
    """
    async with database.transaction() as connection:
        await lock_model(connection, name)
        aliases, others = await uses(connection, name)
        doomed = await asyncio.to_thread(store.versions, name) if version is None else [version]
        used = {
            number: [*([] if force else (f"the alias {alias}" for alias in aliases.get(number, ()))), *others[number]]
            for number in doomed
            if number in aliases or number in others
        }
        if reasons := [f"version {number} by {' and '.join(why)}" for number, why in used.items() if why]:
            hint = "" if force or any(others[number] for number in doomed) else " `force` deletes an alias with it."
            raise ConflictError(f"Model {name!r} is in use: {'; '.join(reasons[:20])}. Nothing was deleted.{hint}")
        for number in doomed:
            for alias in aliases.get(number, ()):
                await clear_alias(connection, name, alias)
        return await asyncio.to_thread(store.delete, name, version)
