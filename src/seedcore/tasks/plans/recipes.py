"""Recipes: plans that completed so often that they run again without a new plan.

A plan becomes a recipe, and a recipe is withdrawn, in the transaction in which a plan ends: by the SQL function
`seedcore.plan_ended` (`stores/migrations/functions/recipe_promotion.sql`). This module reads them.
"""

from seedcore.stores.postgres import Database, loads
from seedcore.tasks.sql.plans import RECIPES, RECIPES_IN_FORCE

MAX_RECIPES = 1000


async def in_force(database: Database) -> dict[str, bool]:
    """Goals that a recipe in force reaches, at most MOST, and whether one of them has several steps."""
    async with database.connection() as connection:
        rows = await connection.fetch(RECIPES_IN_FORCE, MAX_RECIPES)
    return {row["goal"]: row["several"] for row in rows}


async def recipes(database: Database) -> list[dict[str, object]]:
    """Every recipe, the newest first (at most MAX_RECIPES): its goal and skills, and how its runs ended since then.

    `success` is the shrunken rate over what is counted; the one that decides counts the last 50 runs.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(RECIPES, MAX_RECIPES)
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
