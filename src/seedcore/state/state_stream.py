"""The stream of state changes. Nothing is kept for followers: what one lacks is found from its position."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TypedDict

import numpy as np
import orjson

from seedcore.errors import OverloadedError
from seedcore.schemas.state import StateRequest, StreamRequest
from seedcore.state.cached_read import CachedRead
from seedcore.state.sources import StateSources
from seedcore.state.unified_state import StateCollector, ages, failing, json_object, system_state
from seedcore.stores.resume_point import Snapshot
from seedcore.telemetry.logs import get_logger
from seedcore.utils.waiting import wait_for_event

INTERVAL_S = 0.2
"""Followers get an event at most this often; what changed twice in between is sent once."""

IDLE_INTERVAL_S = 1.0
"""Pause between two reads while there is no follower: a request after a quiet time finds little to read."""

SYSTEM_INTERVAL_S = 1.0
MAX_AGE_S = 10.0
MAX_FOLLOWERS = 64
MAX_STREAM_S = 600.0
MAX_STREAM_BYTES = 64 * 1024 * 1024
"""A stream ends after so much time or so many bytes, and its reader resumes: Ray Serve's proxy buffers without bound
for one that reads slowly."""


class StateEvent(TypedDict):
    """A server-sent event; `id` is the position to resume from, `data` JSON."""

    id: str
    event: str
    data: str


class StateStream:
    """Reads the sources in a loop, and wakes followers after each read."""

    def __init__(self, sources: StateSources) -> None:
        self._sources = sources
        self._collector = StateCollector(sources)
        self._tick = asyncio.Event()
        self._joined = asyncio.Event()
        self._system_at = float("-inf")
        self.followers = 0
        self._log = get_logger("seedcore.state.state_stream")

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 - followers depend on this loop; the failure is logged
                self._log.error("state read failed", exc_info=error)
            tick, self._tick = self._tick, asyncio.Event()
            tick.set()
            if self.followers:
                await asyncio.sleep(INTERVAL_S)
            else:
                await wait_for_event(self._joined, IDLE_INTERVAL_S)
            self._joined.clear()

    async def _read(self) -> None:
        await self._sources.agents.refresh()
        if self.followers and time.monotonic() - self._system_at >= SYSTEM_INTERVAL_S:
            self._system_at = time.monotonic()
            await self._sources.system.refresh()

    async def open(self, request: StreamRequest, since: Snapshot | None) -> AsyncGenerator[StateEvent]:
        """Events for one more follower, beginning with a snapshot unless what came after `since` is known.

        Raises:
            OverloadedError: there are too many followers.
            SeedCoreError: nothing recent enough is known.
        """
        if self.followers >= MAX_FOLLOWERS:
            raise OverloadedError(f"{MAX_FOLLOWERS} streams are open here; close one.", retry_after_s=5)
        await asyncio.gather(self._sources.agents.refresh(), self._sources.system.refresh())
        self._sources.agents.within(MAX_AGE_S)
        return self._follow(request, since)

    async def _follow(self, request: StreamRequest, since: Snapshot | None) -> AsyncGenerator[StateEvent]:
        self.followers += 1
        self._joined.set()
        try:
            position, sent, end = _Position(self._sources, request), 0, time.monotonic() + MAX_STREAM_S
            event: StateEvent | None
            if since is None or not self._sources.view.reaches(since):
                event = await self._snapshot(request, position)
            else:
                position.seen = since
                event = position.next_delta()
            while time.monotonic() < end and sent < MAX_STREAM_BYTES:
                if event is not None:
                    sent += len(event["data"])
                    yield event
                await self._tick.wait()
                event = position.next_delta()
        finally:
            self.followers -= 1

    async def _snapshot(self, request: StreamRequest, position: "_Position") -> StateEvent:
        whole = StateRequest(**request.model_dump(), include_memory=False, max_age_s=MAX_AGE_S)
        state = await self._collector.collect(whole)
        # Nothing runs in between: the position is exactly that of what is encoded.
        position.skip_to_now()
        return StateEvent(id=str(position.seen), event="snapshot", data=state.encode().decode())


class _Position:
    """What one follower has been sent."""

    def __init__(self, sources: StateSources, request: StreamRequest) -> None:
        self._sources, self._request = sources, request
        self.seen: Snapshot | None = None
        self._sent: dict[str, Mapping[str, object]] = {}
        self._stale: dict[str, str] = {}

    def skip_to_now(self) -> None:
        """Count the present state as sent."""
        self.seen = self._sources.view.seen
        self._sent, self._stale = self._small_parts(), self._failing()

    def next_delta(self) -> StateEvent | None:
        """The event with all that changed since the last one; None when nothing did."""
        view = self._sources.view
        assert self.seen is not None
        parts: dict[str, bytes] = {}
        if self._request.include_agents and view.seen != self.seen:
            parts |= self._changed_agents(self.seen)
        now, stale = self._small_parts(), self._failing()
        for name, values in now.items():
            before = self._sent.get(name, {})
            changed = {key: value for key, value in values.items() if before.get(key) != value}
            if changed:
                parts[name] = orjson.dumps(changed)
            if gone := sorted(before.keys() - values.keys()):
                parts[f"gone_{name}"] = orjson.dumps(gone)
        if stale != self._stale:
            parts["stale"] = orjson.dumps(stale)
        self._sent, self._stale, self.seen = now, stale, view.seen
        if not parts:
            return None
        parts["ages"] = orjson.dumps(ages(self._reads()))
        return StateEvent(id=str(self.seen), event="delta", data=json_object(parts).decode())

    def _changed_agents(self, since: Snapshot) -> dict[str, bytes]:
        columns = self._sources.view.columns
        rows = np.flatnonzero(since.lacks(columns["change"]))
        living = columns["living"][rows]
        parts = {}
        if living.any():
            parts["agents"] = columns.encode(rows[living])
        if not living.all():
            parts["gone_agents"] = orjson.dumps(sorted(columns.ids[row] for row in rows[~living]))
        return parts

    def _small_parts(self) -> dict[str, Mapping[str, object]]:
        """All parts but the agents."""
        found: dict[str, Mapping[str, object]] = {}
        if self._request.include_organs:
            found["organs"] = self._sources.view.columns.sums()
        if self._request.include_system and self._sources.system.value is not None:
            found["system"] = system_state(self._sources, float("inf"))
        return found

    def _failing(self) -> dict[str, str]:
        return failing(self._reads())

    def _reads(self) -> dict[str, CachedRead[object]]:
        return {"agents": self._sources.agents, "system": self._sources.system}
