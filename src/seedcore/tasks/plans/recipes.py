"""Recipes: plans that completed so often that they are run without asking for one, and how that goes."""

from typing import Any

from seedcore.stores.postgres import Database, loads
from seedcore.tasks.sql.plans import RECIPES, RECIPES_IN_FORCE

MOST = 1000


async def in_force(database: Database) -> dict[str, bool]:
    """Goals that a recipe in force reaches, at most MOST, and whether one of them has several steps."""
    async with database.connection() as connection:
        rows = await connection.fetch(RECIPES_IN_FORCE, MOST)
    return {row["goal"]: row["several"] for row in rows}


async def recipes(database: Database) -> list[dict[str, Any]]:
    """Every recipe, the newest first (at most MOST): what it is for, its skills, how its runs ended since it was made.

    `success` is the shrunken rate over what is counted; the one that decides counts the last 50 runs.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(RECIPES, MOST)
    return [
        {
            "id": row["signature"],
            "goal": loads(row["goal"]),
            "inputs": loads(row["inputs"]),
            "steps": [{"id": s["id"], "skill": s["skill"], "needs": s["needs"]} for s in loads(row["plan"])["steps"]],
            "made_at": row["made_at"].isoformat(),
            "withdrawn_at": None if row["withdrawn_at"] is None else row["withdrawn_at"].isoformat(),
            "reason": row["reason"],
            "runs": row["runs"],
            "completed": row["completed"],
            "success": row["success"],
        }
        for row in rows
    ]
