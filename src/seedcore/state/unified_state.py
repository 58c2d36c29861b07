"""The unified state as JSON: encoded once, from columns."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from seedcore.schemas.state import StateRequest
from seedcore.state.cached_read import Part
from seedcore.state.sources import Sources


@dataclass(frozen=True, slots=True)
class Answer:
    """The tag of what there is to tell, and what encodes it (see `schemas.UnifiedState`).

    Ages apart, equal tags mean equal bodies.

    Encode it before anything else runs: it is of the columns as they are.
    """

    tag: str
    encode: Callable[[], bytes]


class Unified:
    """Collects the parts that somebody wants."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def collect(self, request: StateRequest) -> Answer:
        """Read the parts anew and put them together.

        Raises:
            SeedCoreError: agents or the queue are not known, or only older than `max_age_s`.
        """
        began = time.perf_counter()
        read = self._wanted(request)
        await asyncio.gather(*[part.refresh() for part in read.values()])
        content: list[bytes] = []
        columns, rows = self._sources.view.columns, None
        if request.include_agents or request.include_organs:
            self._sources.agents.within(request.max_age_s)
        if request.include_agents:
            rows = columns.choose(request.agent_ids, request.organ_ids)
            content.append(b"%d %d" % (columns.fingerprint(rows), request.include_vectors))
        small = {name: orjson.dumps(value) for name, value in self._small(request).items()}
        content += [text for item in small.items() for text in (item[0].encode(), item[1])]
        stale = {name: part.error.detail for name, part in read.items() if part.error is not None}
        if stale:
            small["stale"] = orjson.dumps(stale)
            content.append(orjson.dumps(sorted(stale)))
        small["ages"] = orjson.dumps(ages(read))

        def encode() -> bytes:
            agents = {} if rows is None else {"agents": columns.encode(rows, vectors=request.include_vectors)}
            took = {"collected_ms": b"%.3f" % ((time.perf_counter() - began) * 1000)}
            return join(agents | small | took)

        return Answer(blake2b(b"\0".join(content), digest_size=12).hexdigest(), encode)

    def _wanted(self, request: StateRequest) -> dict[str, Part[Any]]:
        sources, read = self._sources, dict[str, Part[Any]]()
        if request.include_agents:
            read["agents"] = sources.agents
        if request.include_organs:
            read["organs"] = sources.agents
        if request.include_system:
            read |= {"system": sources.system, "cluster": sources.cluster}
        if request.include_memory:
            read["memory"] = sources.memory
            if sources.working_memory is not None:
                read["working_memory"] = sources.working_memory
        return read

    def _small(self, request: StateRequest) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if request.include_organs:
            organs = self._sources.view.columns.sums()
            wanted = organs.keys() if request.organ_ids is None else set(request.organ_ids)
            found["organs"] = {name: organ for name, organ in organs.items() if name in wanted}
        if request.include_system:
            found["system"] = system_of(self._sources, request.max_age_s)
        if request.include_memory:
            found["memory"] = memory_of(self._sources, request.max_age_s)
        return found


def join(parts: Mapping[str, bytes]) -> bytes:
    """A JSON object of values that are encoded already."""
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), text) for name, text in parts.items()) + b"}"


def system_of(sources: Sources, max_age_s: float) -> dict[str, Any]:
    """The queue, and the cluster where one is known."""
    system = dict(sources.system.within(max_age_s))
    cluster = _known(sources.cluster, max_age_s)
    return {**system, "cluster": cluster} if cluster else system


def memory_of(sources: Sources, max_age_s: float) -> dict[str, Any]:
    """Counts of what is remembered; what cannot be counted is absent."""
    counts = {"flashbulbs": _known(sources.memory, max_age_s)}
    if sources.working_memory is not None:
        counts["working"] = _known(sources.working_memory, max_age_s)
    return {name: value for name, value in counts.items() if value is not None}


def ages(read: dict[str, Part[Any]]) -> dict[str, float]:
    """Seconds since each was read; one that never was has no age."""
    return {name: round(part.age_s, 3) for name, part in read.items() if part.value is not None}


def _known(part: Part[Any], max_age_s: float) -> Any:
    """What is known; None when that is nothing, or too old and cannot be read anew."""
    return part.value if part.error is None or part.age_s <= max_age_s else None
