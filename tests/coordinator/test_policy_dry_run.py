"""`seedcore policy test`: a policy on recorded decisions."""

import json
import uuid

import pytest

from seedcore.coordinator.policy_dry_run import replay
from seedcore.decision.policy import parse_policy
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


async def test_a_policy_is_tried_on_what_was_decided(pg_settings):
    database = Database(pg_settings)
    await decide_three(database)
    text = b"""
rules:
  - {name: open, when: 'valve.state == "open"', route: hold}
  - {name: loud, when: task.priority == 1, route: fast}
  - {name: busy, when: fleet.queued_s > 0.0, route: reject, priority: 5}
"""
    said = await replay(database, parse_policy(text, "test"), 100, 0.5)
    await database.aclose()
    assert said["tasks"] == 3
    assert said["by_rule"] == {"open": 1, "loud": 1, "(none)": 1}
    assert said["changes"] == [{"from": "fast", "to": "hold", "tasks": 1}]
    assert said["untested"] == ["busy"]
    assert said["approximated"] == []


async def test_the_salience_is_the_formulas_of_what_is_recorded_and_the_answer_says_so(pg_settings):
    database = Database(pg_settings)
    await decide_three(database)
    text = b"""
rules:
  - {name: grave, when: 'salience > 0.4', route: hold}
  - {name: some, when: 'salience > 0.1', route: plan}
"""
    said = await replay(database, parse_policy(text, "test"), 100, 0.5)
    await database.aclose()
    # Evidence 0.8 weighs 0.48, 0.2 weighs 0.12.
    assert said["by_rule"] == {"grave": 1, "some": 1, "(none)": 1}
    assert (said["untested"], said["approximated"]) == ([], ["grave", "some"])


async def decide_three(database: Database) -> None:
    async with database.connection() as connection:
        for n, evidence in enumerate((None, 0.2, 0.8)):
            id_ = uuid.UUID(int=n + 1)
            await connection.execute(
                "insert into seedcore.tasks (id, type, params, priority, max_attempts)"
                " values ($1, 'echo', '{}', $2, 3)",
                id_,
                n,
            )
            decision = json.dumps({"route": "fast", "rule": "known_skill", "evidence": evidence})
            await connection.execute(
                "insert into seedcore.finished (id, tick, status, attempts, decision)"
                " values ($1, $2, 'completed', 1, $3)",
                id_,
                n,
                decision,
            )
