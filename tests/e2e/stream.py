"""A stream of tasks of one type that comes by SQL, and what its valve says."""

import time
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.system import System
from seedcore.settings import load_settings
from seedcore.stores.postgres import resolve_dsn
from seedcore.worker.decisions.stream_samples import SAMPLE

_ENQUEUE = "select seedcore.enqueue(%s, jsonb_build_object(%s::text, round((%s + 5 * random())::numeric, 2)))"


class Stream:
    """Tasks `type {field: number}`; nobody checks them before they run."""

    def __init__(self, system: System, type_: str) -> None:
        self._system, self._type = system, type_
        # The embedded server's, which runs: asking for it starts nothing.
        self._dsn = resolve_dsn(load_settings(data_dir=system.data_dir))

    def send(self, count: int, field: str, least: float) -> list[str]:
        """Enqueue tasks, so few at a time that the valve sees each of them, with those before; returns their ids."""
        ids: list[str] = []
        seen = self.valve().get("tasks", 0)
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            sql = f"{_ENQUEUE} from generate_series(1, %s)"
            while left := min(count - len(ids), SAMPLE // 2):
                ids += [str(row[0]) for row in connection.execute(sql, (self._type, field, least, left))]
                if len(ids) < count:
                    self._until_seen(seen + len(ids))
        return ids

    def valve(self) -> dict[str, Any]:
        """What the Coordinator knows about the stream."""
        found = [s for s in self._system.get("/pipeline/valve")["streams"] if s["stream"] == self._type]
        return found[0] if found else {"state": "none", "work": {"observed": 0, "alarms": 0}}

    def until(self, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        """Wait until it holds for what `valve` says."""
        deadline = time.monotonic() + timeout_s
        while not holds(told := self.valve()):
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
        return told

    def _until_seen(self, count: int) -> None:
        self.until(lambda told: bool(told.get("tasks", 0) >= count))

    def until_observed(self, count: int) -> dict[str, Any]:
        """Wait until the valve of its work has seen so many."""
        return self.until(lambda told: bool(told["work"]["observed"] >= count))

    def ended(self, ids: list[str], timeout_s: float = 60) -> list[dict[str, Any]]:
        """The tasks, once they have ended."""
        deadline = time.monotonic() + timeout_s
        found = []
        for task_id in ids:
            while (task := self._system.get(f"/api/v1/tasks/{task_id}"))["finished_at"] is None:
                assert time.monotonic() < deadline, task
                time.sleep(0.02)
            found.append(task)
        return found
