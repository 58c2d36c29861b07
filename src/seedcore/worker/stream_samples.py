"""What the Coordinator's valves get to see of leased tasks: features of a few of each stream, never payloads."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from seedcore.changepoint.features import task_features
from seedcore.schemas.coordinator import StreamRows
from seedcore.tasks.model import Lease
from seedcore.worker.ports import Watched

SAMPLE = 50
"""Tasks of a stream that one question tells about; of more, evenly spread ones."""

OUTCOMES = 10
"""Outcomes of a stream that one question tells about, the first ones: those that ran together are alike."""

MAX_READ = 65_536
"""Longer params, in characters, are not read: of them only the length counts."""

MAX_TOLD = 200
"""Streams that one question tells about."""

Stream = tuple[str | None, str]


def told(tasks: Sequence[Lease], outcomes: Mapping[Stream, Watched]) -> list[StreamRows]:
    """Rows by stream, as `schemas.coordinator.StreamRows` takes them; of tasks that have not been told before."""
    streams: dict[Stream, list[Lease]] = {}
    for task in tasks:
        if not task.told:
            streams.setdefault((task.domain, task.type), []).append(task)
    found: list[StreamRows] = []
    for key in list(dict.fromkeys([*streams, *outcomes]))[:MAX_TOLD]:
        members, ended = streams.get(key, []), outcomes.get(key)
        rows = [_features(members[k]) for k in _spread(len(members))]
        found.append(
            {
                "domain": key[0],
                "type": key[1],
                "seen": len(members),
                "tasks": rows,
                "outcomes": [] if ended is None else ended.rows,
            }
        )
    return found


def _spread(count: int) -> Sequence[int]:
    return range(count) if count <= SAMPLE else [k * count // SAMPLE for k in range(SAMPLE)]


def read_params(task: Lease) -> Any:
    """What the params hold; None where they are too long, or hold a number that no double can (PostgreSQL keeps it)."""
    if len(task.params) > MAX_READ:
        return None
    try:
        return orjson.loads(task.params)
    except orjson.JSONDecodeError:
        return None


def _features(task: Lease) -> list[float]:
    params = read_params(task)
    # Not when it came: arrivals change by the hour and with every client, and say nothing about the work.
    return task_features(task.type, params, size=len(task.params))
