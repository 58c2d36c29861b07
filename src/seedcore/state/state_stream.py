"""Telling followers what changes. Nothing is kept for them: what a follower lacks is found from where it stands."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import orjson

from seedcore.errors import OverloadedError
from seedcore.schemas.state import StateRequest, StreamRequest
from seedcore.state.cached_read import Part
from seedcore.state.sources import Sources
from seedcore.state.unified_state import Unified, ages, join, system_of
from seedcore.stores.pg_snapshot import Snapshot
from seedcore.telemetry.logs import get_logger

BEAT_S = 0.2
"""Followers are told at most this often; what changed twice in between is told once."""

IDLE_S = 1.0
"""Pause between two reads while nobody follows: a request after a quiet time finds little to read."""

SYSTEM_S = 1.0
MAX_AGE_S = 10.0
MOST_FOLLOWERS = 64
LONGEST_S = 600.0
MOST_BYTES = 64 * 1024 * 1024
"""A stream ends after so much time or so many bytes, and its reader resumes: Ray Serve's proxy buffers without bound
for one that reads slowly."""


class Pulse:
    """Reads the sources again and again, and wakes followers after each time."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._unified = Unified(sources)
        self._beat = asyncio.Event()
        self._joined = asyncio.Event()
        self._system_at = float("-inf")
        self.followers = 0
        self._log = get_logger("seedcore.state.state_stream")

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 - followers hang on this loop; what broke it is logged
                self._log.error("reading broke", exc_info=error)
            beat, self._beat = self._beat, asyncio.Event()
            beat.set()
            if self.followers:
                await asyncio.sleep(BEAT_S)
            else:
                # Not wait_for, which in Python 3.11 swallows a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await self._joined.wait()
            self._joined.clear()

    async def _read(self) -> None:
        await self._sources.agents.refresh()
        if self.followers and time.monotonic() - self._system_at >= SYSTEM_S:
            self._system_at = time.monotonic()
            await self._sources.system.refresh()

    async def open(self, request: StreamRequest, since: Snapshot | None) -> AsyncGenerator[dict[str, Any]]:
        """Events for one more follower, beginning with a snapshot unless what came after `since` is known.

        Raises:
            OverloadedError: there are too many followers.
            SeedCoreError: nothing recent enough is known.
        """
        if self.followers >= MOST_FOLLOWERS:
            raise OverloadedError(f"{MOST_FOLLOWERS} streams are open here; close one.", retry_after_s=5)
        await asyncio.gather(self._sources.agents.refresh(), self._sources.system.refresh())
        self._sources.agents.within(MAX_AGE_S)
        return self._follow(request, since)

    async def _follow(self, request: StreamRequest, since: Snapshot | None) -> AsyncGenerator[dict[str, Any]]:
        self.followers += 1
        self._joined.set()
        try:
            told, sent, end = _Told(self._sources, request), 0, time.monotonic() + LONGEST_S
            if since is None or not self._sources.view.reaches(since):
                event = await self._snapshot(request, told)
            else:
                told.seen = since
                event = told.news() or {}
            while time.monotonic() < end and sent < MOST_BYTES:
                if event:
                    sent += len(event["data"])
                    yield event
                await self._beat.wait()
                event = told.news() or {}
        finally:
            self.followers -= 1

    async def _snapshot(self, request: StreamRequest, told: "_Told") -> dict[str, Any]:
        wanted = StateRequest(**request.model_dump(), include_memory=False, max_age_s=MAX_AGE_S)
        answer = await self._unified.collect(wanted)
        # Nothing runs in between: what is remembered as told is what is encoded.
        told.all()
        return {"id": str(told.seen), "event": "snapshot", "data": answer.encode().decode()}


class _Told:
    """What one follower has been told."""

    def __init__(self, sources: Sources, request: StreamRequest) -> None:
        self._sources, self._request = sources, request
        self.seen: Snapshot | None = None
        self._small: dict[str, dict[str, Any]] = {}
        self._stale: dict[str, str] = {}

    def all(self) -> None:
        """Everything has been told."""
        self.seen = self._sources.view.seen
        self._small, self._stale = self._now(), self._failing()

    def news(self) -> dict[str, Any] | None:
        """The event that tells what has not been told yet; None when there is nothing."""
        view = self._sources.view
        assert self.seen is not None
        parts: dict[str, bytes] = {}
        if self._request.include_agents and view.seen != self.seen:
            parts |= self._agents(self.seen)
        now, stale = self._now(), self._failing()
        for name, values in now.items():
            before = self._small.get(name, {})
            changed = {key: value for key, value in values.items() if before.get(key) != value}
            if changed:
                parts[name] = orjson.dumps(changed)
            if gone := sorted(before.keys() - values.keys()):
                parts[f"gone_{name}"] = orjson.dumps(gone)
        if stale != self._stale:
            parts["stale"] = orjson.dumps(stale)
        self._small, self._stale, self.seen = now, stale, view.seen
        if not parts:
            return None
        parts["ages"] = orjson.dumps(ages({"agents": self._sources.agents, "system": self._sources.system}))
        return {"id": str(self.seen), "event": "delta", "data": join(parts).decode()}

    def _agents(self, since: Snapshot) -> dict[str, bytes]:
        columns = self._sources.view.columns
        rows = np.flatnonzero(since.lacks(columns["change"]))
        living = columns["living"][rows]
        parts = {}
        if living.any():
            parts["agents"] = columns.encode(rows[living])
        if not living.all():
            parts["gone_agents"] = orjson.dumps(sorted(columns.ids[row] for row in rows[~living]))
        return parts

    def _now(self) -> dict[str, dict[str, Any]]:
        found = {}
        if self._request.include_organs:
            found["organs"] = self._sources.view.columns.sums()
        if self._request.include_system and self._sources.system.value is not None:
            found["system"] = system_of(self._sources, float("inf"))
        return found

    def _failing(self) -> dict[str, str]:
        parts: dict[str, Part[Any]] = {"agents": self._sources.agents, "system": self._sources.system}
        return {name: part.error.detail for name, part in parts.items() if part.error is not None}
