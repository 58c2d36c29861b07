"""Samples leased tasks for the Coordinator's valves: features of a few tasks of each stream, never payloads."""

from collections.abc import Mapping, Sequence

import orjson

from seedcore.changepoint.features import task_features
from seedcore.schemas.coordinator import StreamRows
from seedcore.tasks.model import Lease
from seedcore.worker.ports import StreamOutcomes

SAMPLE = 50
"""Tasks of a stream in one question; of more, evenly spread ones."""

OUTCOMES = 10
"""Outcomes of a stream in one question, the first ones: those that ran together are alike."""

MAX_READ = 65_536
"""Longer params, in characters, are not read: of them only the length counts."""

MAX_STREAMS = 200
"""Streams in one question."""

Stream = tuple[str | None, str]


def sample_streams(tasks: Sequence[Lease], outcomes: Mapping[Stream, StreamOutcomes]) -> list[StreamRows]:
    """Rows by stream, in the shape of `schemas.coordinator.StreamRows`; of tasks that the valves have not seen."""
    streams: dict[Stream, list[Lease]] = {}
    for task in tasks:
        if not task.reported_to_valves:
            streams.setdefault((task.domain, task.type), []).append(task)
    found: list[StreamRows] = []
    for key in list(dict.fromkeys([*streams, *outcomes]))[:MAX_STREAMS]:
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


def read_params(task: Lease) -> object:
    """The params; None where they are too long, or hold a number too large for a double, which PostgreSQL keeps."""
    if len(task.params) > MAX_READ:
        return None
    try:
        params: object = orjson.loads(task.params)
    except orjson.JSONDecodeError:
        return None
    return params


def _features(task: Lease) -> list[float]:
    params = read_params(task)
    # Without the time of arrival: it changes by the hour and with every client, and says nothing about the work.
    return task_features(task.type, params, size=len(task.params))
