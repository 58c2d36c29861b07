"""The unified state as JSON: collected from the sources, and encoded once, from columns."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from seedcore.schemas.state import StateRequest
from seedcore.state.cached_read import CachedRead
from seedcore.state.sources import StateSources

OTHER_STORES = frozenset({"flashbulbs", "working_memory"})
OTHERS_S = 0.25
"""Longest wait for stores beside PostgreSQL: a slow one holds up no state. Its read goes on, and a later answer has it.
"""

Reads = Mapping[str, CachedRead[object]]
"""Cached reads by the name of the part that they are for."""


@dataclass(frozen=True, slots=True)
class EncodedState:
    """A state that is ready to be encoded (see `schemas.state.UnifiedState`), and the tag of its content.

    Ages apart, equal tags mean equal bodies. Call `encode` before anything else runs: it reads the columns as they are.
    """

    tag: str
    encode: Callable[[], bytes]


class StateCollector:
    """Collects the parts that a request names."""

    def __init__(self, sources: StateSources) -> None:
        self._sources = sources

    async def collect(self, request: StateRequest) -> EncodedState:
        """Read the parts again and put them together.

        Raises:
            SeedCoreError: agents or the queue are not known, or only older than `max_age_s`.
        """
        began = time.perf_counter()
        reads = self._reads(request)
        await asyncio.gather(*[_refresh(name, read) for name, read in reads.items()])
        content: list[bytes] = []
        columns, rows = self._sources.view.columns, None
        if request.include_agents or request.include_organs:
            self._sources.agents.within(request.max_age_s)
        if request.include_agents:
            rows = columns.choose(request.agent_ids, request.organ_ids)
            content.append(b"%d %d" % (columns.fingerprint(rows), request.include_vectors))
        parts = {name: orjson.dumps(value) for name, value in self._small_parts(request).items()}
        content += [text for name, value in parts.items() for text in (name.encode(), value)]
        if stale := failing(reads):
            parts["stale"] = orjson.dumps(stale)
            content.append(orjson.dumps(sorted(stale)))
        parts["ages"] = orjson.dumps(ages(reads))

        def encode() -> bytes:
            agents = {} if rows is None else {"agents": columns.encode(rows, vectors=request.include_vectors)}
            duration = {"collected_ms": b"%.3f" % ((time.perf_counter() - began) * 1000)}
            return json_object(agents | parts | duration)

        return EncodedState(blake2b(b"\0".join(content), digest_size=12).hexdigest(), encode)

    def _reads(self, request: StateRequest) -> Reads:
        sources = self._sources
        reads: dict[str, CachedRead[object]] = {}
        if request.include_agents:
            reads["agents"] = sources.agents
        if request.include_organs:
            reads["organs"] = sources.agents
        if request.include_system:
            reads |= {"system": sources.system, "cluster": sources.cluster}
        if request.include_memory:
            reads |= {"memory": sources.memory, "flashbulbs": sources.flashbulbs}
            if sources.working_memory is not None:
                reads["working_memory"] = sources.working_memory
        return reads

    def _small_parts(self, request: StateRequest) -> dict[str, Mapping[str, object]]:
        """All parts but the agents."""
        found: dict[str, Mapping[str, object]] = {}
        if request.include_organs:
            organs = self._sources.view.columns.sums()
            chosen = organs.keys() if request.organ_ids is None else set(request.organ_ids)
            found["organs"] = {name: organ for name, organ in organs.items() if name in chosen}
        if request.include_system:
            found["system"] = system_state(self._sources, request.max_age_s)
        if request.include_memory:
            found["memory"] = memory_state(self._sources, request.max_age_s)
        return found


def json_object(parts: Mapping[str, bytes]) -> bytes:
    """A JSON object of values that are encoded already."""
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), text) for name, text in parts.items()) + b"}"


def system_state(sources: StateSources, max_age_s: float) -> Mapping[str, object]:
    """The queue, and the cluster where one is known."""
    system = sources.system.within(max_age_s)
    cluster = sources.cluster.value_or_none(max_age_s)
    return {**system, "cluster": cluster} if cluster else {**system}


def memory_state(sources: StateSources, max_age_s: float) -> Mapping[str, object]:
    """Counts of what is remembered; what cannot be counted is absent, with the reason."""
    found: dict[str, object] = {}
    absent: dict[str, str] = {}
    kept = sources.memory.value_or_none(max_age_s)
    if kept is None:
        absent |= dict.fromkeys(("memories", "facts"), _why(sources.memory))
    else:
        found |= {"memories": kept.memories, "facts": kept.facts}
    flashbulbs = sources.flashbulbs.value_or_none(max_age_s)
    if flashbulbs is None:
        absent["flashbulbs"] = _why(sources.flashbulbs)
    else:
        found |= {name: count for name, count in flashbulbs.items() if count is not None}
    if sources.working_memory is None:
        absent["working"] = "REDIS_URL is not set: each process has a cache of its own, and knows it alone"
    elif (working := sources.working_memory.value_or_none(max_age_s)) is None:
        absent["working"] = _why(sources.working_memory)
    else:
        found["working"] = working
    return {**found, "absent": absent} if absent else found


def _why(read: CachedRead[object]) -> str:
    return f"it has not answered within {OTHERS_S:g} s" if read.error is None else read.error.detail


async def _refresh(name: str, read: CachedRead[object]) -> None:
    """Read again; what is not in PostgreSQL is waited for only shortly."""
    if name not in OTHER_STORES:
        await read.refresh()
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(OTHERS_S):
            await read.refresh()


def ages(reads: Reads) -> dict[str, float]:
    """Seconds since each was read; one that never was has no age."""
    return {name: round(read.age_s, 3) for name, read in reads.items() if read.value is not None}


def failing(reads: Reads) -> dict[str, str]:
    """Those that cannot be read now, and why."""
    return {name: read.error.detail for name, read in reads.items() if read.error is not None}
