"""Recipes: plans that completed so often that they are run without asking for one, and how that goes."""

from typing import Any

from seedcore.stores.postgres import Database, loads

MOST = 1000

# Indexes plan_ends_signature; counted up to 10,000 a recipe.
_RECIPES = """
select r.signature, r.goal::text as goal, r.inputs::text as inputs, r.plan::text as plan, r.made_at, r.withdrawn_at,
       r.reason, e.runs, e.completed, case when e.runs > 0 then seedcore.shrunken(e.completed, e.runs) end as success
from seedcore.recipes r
cross join lateral (
  select count(*) as runs, count(*) filter (where l.ok) as completed from (
    select ok from seedcore.plan_ends p where p.signature = r.signature and p.recipe and p.at >= r.made_at
    order by p.at desc limit 10000) l) e
order by r.made_at desc limit $1
"""

# Recipes are few.
_IN_FORCE = """
select goal #>> '{}' as goal, bool_or(jsonb_array_length(plan -> 'steps') > 1) as several
from seedcore.recipes where withdrawn_at is null
group by 1 order by max(made_at) desc limit $1
"""


async def in_force(database: Database) -> dict[str, bool]:
    """Goals that a recipe in force reaches, at most MOST, and whether one of them has several steps."""
    async with database.connection() as connection:
        rows = await connection.fetch(_IN_FORCE, MOST)
    return {row["goal"]: row["several"] for row in rows}


async def recipes(database: Database) -> list[dict[str, Any]]:
    """Every recipe, the newest first (at most MOST): what it is for, its skills, how its runs ended since it was made.

    `success` is the shrunken rate over what is counted; the one that decides counts the last 50 runs.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(_RECIPES, MOST)
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
