"""What agents had learned is read from the rows of their hosts."""

import json

import pytest

from seedcore.fleet.learned_rates import rates_of
from seedcore.pricing.rates import RateEstimate
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


async def test_agents_that_have_learned_are_read_and_others_are_absent(pg_settings: Settings):
    database = Database(pg_settings)
    rates = {"echo": {"weight": 3.0, "seconds": 6.0, "successes": 2.0}}
    async with database.connection() as connection:
        insert = "insert into seedcore.agents (id, organ, host, rates) values ($1, 'utility', 'h', $2)"
        await connection.executemany(insert, [("a-0", json.dumps(rates)), ("a-1", "{}")])
    assert await rates_of(database, ["a-0", "a-1", "a-2"]) == {"a-0": {"echo": RateEstimate(3.0, 6.0, 2.0)}}
    await database.aclose()
