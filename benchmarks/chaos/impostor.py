"""Stale writes on purpose: what a worker would write that woke up after its lease was lost.

Stopped dispatchers seldom get so far by themselves, for their heartbeat tells them first. These writes go through the
engine's own functions, under tokens that the witness saw go; every one of them must change nothing.
"""

import json
import random
from collections import deque
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from benchmarks.chaos.evidence import Evidence, Stale
from seedcore.tasks import leases
from seedcore.tasks.model import Outcome, Retry, Status

WRITES = ("completion", "failure", "retry", "release")
AT_ONCE = 10
MOST = 2_000


class Impostor:
    """Remembers lost leases, and writes under them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"impostor {seed}")
        # Those whose task still runs somewhere are worth more, so that neither kind crowds the other out.
        self._taken: deque[tuple[str, int]] = deque(maxlen=MOST)
        self._ended: deque[tuple[str, int]] = deque(maxlen=MOST)

    def learn(self, taken: Sequence[tuple[str, int]], ended: Sequence[tuple[str, int]]) -> None:
        """Leases (id, token) that went: from tasks that had not ended, and with their end."""
        self._taken.extend(taken)
        self._ended.extend(ended)

    async def strike(self, connection: asyncpg.Connection, evidence: Evidence) -> None:
        """Try some writes, and note which were refused. A statement that fails says nothing, and is tried no more."""
        for known, most in ((self._taken, AT_ONCE), (self._ended, AT_ONCE // 2)):
            for _ in range(min(most, len(known))):
                task_id, token = known.popleft()
                write = self._chance.choice(WRITES)
                if await _write(connection, write, UUID(task_id), token):
                    evidence.stale_accepted.append(Stale(task_id, token, write))
                else:
                    evidence.stale_refused += 1


async def _write(connection: asyncpg.Connection, write: str, task_id: UUID, token: int) -> bool:
    match write:
        case "completion":
            result = json.dumps({"run": "impostor", "token": token, "attempt": 0})
            accepted = await leases.finish(connection, [Outcome(task_id, token, Status.COMPLETED, result=result)])
        case "failure":
            outcome = Outcome(task_id, token, Status.FAILED, error_code="impostor", error_message="a stale worker")
            accepted = await leases.finish(connection, [outcome])
        case "retry":
            accepted = await leases.retry(connection, [Retry(task_id, token, 0.0, "impostor", "a stale worker")])
        case _:
            accepted = await leases.release(connection, [(task_id, token)])
    return bool(accepted)
