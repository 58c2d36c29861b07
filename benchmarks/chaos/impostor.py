"""Stale writes on purpose: what a worker would write that woke up after its lease was lost.

Stopped dispatchers seldom get so far by themselves, for their heartbeat tells them first. These writes go through the
engine's own functions, under tokens that the witness saw go; every one of them must change nothing.
"""

import json
import random
from collections import deque
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import asyncpg

from benchmarks.chaos.evidence import Evidence, Stale
from seedcore.tasks import leases
from seedcore.tasks.model import Outcome, Retry, Status

WRITES = ("completion", "failure", "exchange", "retry", "release")
AT_ONCE = 10
MOST = 2_000


class Impostor:
    """Remembers lost leases, and writes under them.

    A task that was taken away is tried twice: at once, while nobody holds it, and again when another worker does. The
    second is what fencing is for: an engine that looks at the task alone would take that write for the new holder's.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"impostor {seed}")
        self._fresh: deque[tuple[str, int]] = deque(maxlen=MOST)
        self._waits: dict[str, int] = {}
        self._ended: deque[tuple[str, int]] = deque(maxlen=MOST)
        self.against_holders = 0

    def learn(self, taken: Sequence[tuple[str, int]], ended: Sequence[tuple[str, int]]) -> None:
        """Leases (id, token) that went: from tasks that had not ended, and with their end."""
        self._fresh.extend(taken)
        self._waits.update(taken)
        self._ended.extend(ended)

    async def strike(self, connection: asyncpg.Connection, evidence: Evidence, held: Mapping[str, int]) -> None:
        """Try some writes, and note which were refused; `held` are the leases of this moment.

        A statement that fails says nothing, and is tried no more.
        """
        again = [(i, token) for i, token in self._waits.items() if held.get(i, token) != token][:AT_ONCE]
        for task_id, _ in again:
            del self._waits[task_id]
        self.against_holders += len(again)
        some = [known.popleft() for known in (self._fresh, self._ended) for _ in range(min(AT_ONCE // 2, len(known)))]
        for task_id, token in again + some:
            write = self._chance.choice(WRITES)
            if await _write(connection, write, UUID(task_id), token):
                evidence.stale_accepted.append(Stale(task_id, token, write))
            else:
                evidence.stale_refused += 1


_RESULT = json.dumps({"run": "impostor", "token": 0, "attempt": 0})


async def _write(connection: asyncpg.Connection, write: str, task_id: UUID, token: int) -> bool:
    match write:
        case "completion":
            accepted = await leases.finish(connection, [Outcome(task_id, token, Status.COMPLETED, result=_RESULT)])
        case "exchange":
            # The dispatcher's usual way: ends and claims in one statement. A session that nobody opened claims nothing.
            ended = [Outcome(task_id, token, Status.COMPLETED, result=_RESULT)]
            accepted, _ = await leases.finish_and_claim(connection, ended, "default", uuid4(), 1)
        case "failure":
            outcome = Outcome(task_id, token, Status.FAILED, error_code="impostor", error_message="a stale worker")
            accepted = await leases.finish(connection, [outcome])
        case "retry":
            accepted = await leases.retry(connection, [Retry(task_id, token, 0.0, "impostor", "a stale worker")])
        case _:
            accepted = await leases.release(connection, [(task_id, token)])
    return bool(accepted)
