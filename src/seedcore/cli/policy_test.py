"""`seedcore policy test FILE`: check a policy, and try it on recorded decisions."""

import asyncio
import json
from pathlib import Path

from seedcore.coordinator.policy_dry_run import replay
from seedcore.coordinator.policy_file import load_policy
from seedcore.coordinator.triage.actions import load_actions
from seedcore.decision.policy import Policy
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


def test_policy(settings: Settings, file: Path, limit: int) -> str:
    """What `file` would have said of the last `limit` tasks that ended, as JSON.

    Raises:
        InvalidInputError: the policy is wrong.
        SeedCoreError: the database cannot be read.
    """
    return json.dumps(asyncio.run(_replay(settings, load_policy(file, load_actions(settings)), limit)), indent=2)


async def _replay(settings: Settings, policy: Policy, limit: int) -> dict[str, object]:
    database = Database(settings, name="seedcore-policy")
    try:
        return await replay(database, policy, limit, settings.drift_threshold)
    finally:
        await database.aclose()
