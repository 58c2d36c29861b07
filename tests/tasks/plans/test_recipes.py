"""Recipes as the Coordinator shows them."""

import json

import pytest

from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.recipes import recipes

pytestmark = pytest.mark.integration


async def test_a_recipe_shows_what_it_is_for_and_how_its_own_runs_ended(pg_settings: Settings):
    database = Database(pg_settings)
    plan = {"steps": [{"id": "s1", "skill": "echo", "params": {}, "needs": []}], "output": {}}
    async with database.connection() as connection:
        await connection.execute(
            "insert into seedcore.recipes (signature, goal, inputs, plan) values ('k', $1, '{}', $2)",
            '["x"]',
            json.dumps(plan),
        )
        ends = [("k", "s", True, True), ("k", "s", True, False), ("k", "s", False, False), ("j", "s", True, False)]
        await connection.executemany(
            "insert into seedcore.plan_ends (signature, shape, recipe, ok) values ($1, $2, $3, $4)", ends
        )
    (shown,) = await recipes(database)
    assert (shown["id"], shown["goal"], shown["runs"], shown["completed"]) == ("k", ["x"], 2, 1)
    assert shown["success"] == pytest.approx((1 + 4.5) / 7)
    assert shown["steps"] == [{"id": "s1", "skill": "echo", "needs": []}]
    assert shown["withdrawn_at"] is None
    await database.aclose()
