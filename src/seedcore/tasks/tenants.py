"""Tenants: their weights, and how many of their tasks wait."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from seedcore.errors import InvalidInputError
from seedcore.tasks.model import TENANT_NAME
from seedcore.tasks.sql.limits import FIND_TENANTS, PUT_WEIGHT, WEIGHTS

MIN_WEIGHT, MAX_WEIGHT = 1, 1000
MAX_COUNTED_HEADS, MAX_COUNTED = 1000, 1000
"""Of so many queues, priorities and tenants together the tasks are counted, and of each so many."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant that has ready tasks, or a weight of its own.

    Attributes:
        weight: its share within a priority is its weight to that of all who have ready tasks.
        ready: tasks that may be claimed, counted up to 1,000 of each queue and priority.
    """

    name: str
    weight: int
    ready: int


async def weights_of(connection: asyncpg.Connection, names: Sequence[str]) -> dict[str, int]:
    """The weights of those of these tenants that have one of their own."""
    return {row["name"]: row["weight"] for row in await connection.fetch(WEIGHTS, names)}


async def find(connection: asyncpg.Connection, after: str | None, limit: int) -> list[Tenant]:
    """Tenants by name, those behind `after`."""
    rows = await connection.fetch(FIND_TENANTS, after or "", limit, MAX_COUNTED_HEADS, MAX_COUNTED)
    return [Tenant(**row) for row in rows]


async def put(connection: asyncpg.Connection, name: str, weight: int) -> None:
    """Set a tenant's weight. Claimants read it within a second.

    Raises:
        InvalidInputError: no tenant can have this name or weight.
    """
    if not re.fullmatch(TENANT_NAME, name):
        raise InvalidInputError.for_field("name", f"must match {TENANT_NAME}")
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise InvalidInputError.for_field("weight", f"must be from {MIN_WEIGHT} to {MAX_WEIGHT}")
    await connection.execute(PUT_WEIGHT, name, weight)
