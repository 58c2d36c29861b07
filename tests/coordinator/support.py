"""An Organism with one agent, and questions to the Coordinator."""

from typing import Any

import numpy as np

from seedcore.changepoint.features import TASK_COLUMNS
from seedcore.service_clients.service_client import TransportCounts

ORGAN = {"agents": ["a-0"], "hosts": ["h"], "host": [0], "scouts": [], "archived": []}
TABLE = {"epoch": 1, "skills": {"echo": "utility"}, "timeouts": {}, "organs": {"utility": ORGAN}}


class FakeOrganism:
    """An Organism client with one agent that echoes."""

    counts = TransportCounts()

    async def fleet(self, _epoch: int | None) -> dict[str, Any]:
        return TABLE

    async def aclose(self) -> None:
        return None


def question(count: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    one = {"type": "echo", "domain": None, "priority": 0, "attempt": 1, "size": 2, "approved": False}
    rows = np.random.default_rng(seed).standard_normal((count, TASK_COLUMNS)) + shift
    told = {"type": "echo", "seen": count, "tasks": rows.tolist(), "outcomes": []}
    return {"asker": "test", "tasks": {k: [v] for k, v in one.items()}, "streams": [told]}
