"""Feeds the monitors of all champions from recorded predictions and outcomes, and lets open ones ask for triage.

Runs in the leader of the ML service. Two replicas that both believe for some seconds that they lead write the same rows
in turn; each of them is whole.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from seedcore.errors import ConflictError, InvalidInputError, SeedCoreError
from seedcore.ml.gate.losses import loss
from seedcore.ml.monitoring import monitor_store
from seedcore.ml.monitoring.model_monitor import ModelMonitor, moment
from seedcore.ml.registry.aliases import read_aliases
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics.metric_registry import gauge

SAVE_S = 2.0
FORGET_S = 6.0
"""After a pause of this length another replica may have led: stored monitors are read again."""
MAX_BATCHES = 5
"""Batches of one model in one round; the others follow in the next."""


class AsksForTriage(Protocol):
    """The Coordinator's client."""

    def anomaly_triage(self, request: Mapping[str, object]) -> Awaitable[dict[str, Any]]:
        """Detect, reason, decide, act."""


@dataclass(slots=True)
class _WatchedModel:
    manifest: ModelManifest
    monitor: ModelMonitor
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    saved_at: float = 0.0
    changed: bool = True


class MonitorKeeper:
    """The monitors of all champions; `run` and `ask` are the jobs of the leader.

    Attributes:
        failing: why a model cannot be watched, by name.
    """

    def __init__(self, database: Database, store: ModelStore, coordinator: AsksForTriage, arl0: float) -> None:
        self._database, self._store, self._coordinator, self._arl0 = database, store, coordinator, arl0
        self._log = get_logger("seedcore.ml.monitors")
        self._models: dict[str, _WatchedModel] = {}
        self._shadowing: frozenset[str] = frozenset()
        self._ran_at = 0.0
        self.failing: dict[str, str] = {}

    async def run(self) -> None:
        """One round: new champions, new predictions, new outcomes."""
        if time.monotonic() - self._ran_at > FORGET_S:
            self._models.clear()
        async with self._database.connection() as connection:
            aliases = await read_aliases(connection)
            champions = {name: found["champion"] for name, found in aliases.versions.items() if "champion" in found}
            if self._models.keys() - champions.keys():
                await monitor_store.keep_only(connection, list(champions))
        self._shadowing = frozenset(aliases.shadows)
        for name in self._models.keys() - champions.keys():
            del self._models[name]
        for name in self.failing.keys() - champions.keys():
            del self.failing[name]
        for name, version in champions.items():
            try:
                await self._watch(name, version)
                self.failing.pop(name, None)
            except DATABASE_ERRORS:
                raise
            except (SeedCoreError, OSError, ValueError, TypeError, KeyError) as error:
                # One model that cannot be read must not blind the others.
                reason = error.detail if isinstance(error, SeedCoreError) else f"{type(error).__name__}: {error}"
                if self.failing.get(name) != reason:
                    self._log.warning("model not watched", model=name, version=version, reason=reason)
                self.failing[name] = reason
            self._ran_at = time.monotonic()
        self._ran_at = time.monotonic()

    async def _watch(self, name: str, version: int) -> None:
        watched = self._models.get(name)
        if watched is None or watched.monitor.version != version:
            watched = self._models[name] = await self._adopt(name, version)
        async with watched.lock:
            opened = len(watched.monitor.opened())
            for _ in range(MAX_BATCHES):
                if not await self._feed(watched):
                    break
            opens = len(watched.monitor.opened()) != opened
            if watched.changed and (opens or time.monotonic() - watched.saved_at > SAVE_S):
                await self._save(watched)

    async def _adopt(self, name: str, version: int) -> _WatchedModel:
        manifest = await asyncio.to_thread(self._store.manifest, name, version)
        async with self._database.connection() as connection:
            stored = await monitor_store.load_monitor(connection, name)
            newest = await monitor_store.newest_rows(connection, name)
        if stored is not None and stored.version == version and stored.state is not None:
            try:
                monitor = ModelMonitor.restore(manifest, stored.state, stored.facts)
                return _WatchedModel(manifest, monitor, changed=False)
            except (InvalidInputError, KeyError, TypeError, ValueError) as error:
                self._log.warning("stored monitors cannot be read, beginning again", model=name, reason=str(error))
        caused = [] if stored is None else (stored.facts.get("asks") or {}).get("caused") or []
        monitor = ModelMonitor.begin(manifest, self._arl0, newest, time.time(), caused)
        reference = await asyncio.to_thread(self._store.reference, name, version)
        if reference is not None and reference.shape[1] == len(manifest.features):
            await asyncio.to_thread(monitor.inputs.learn, reference)
        self._log.info("model watched", model=name, version=version, inputs=monitor.inputs.state)
        return _WatchedModel(manifest, monitor)

    async def _feed(self, watched: _WatchedModel) -> bool:
        """Take one batch of each; whether there may be more."""
        monitor, features = watched.monitor, len(watched.manifest.features)
        async with self._database.connection() as connection:
            made = await monitor_store.new_predictions(
                connection, monitor.name, monitor.version, features, monitor.predictions
            )
            known = await monitor_store.new_outcomes(
                connection, monitor.name, monitor.version, monitor.outcomes, monitor.first
            )
        watched.changed = watched.changed or bool(made.marks or known.rows)
        now = time.time()
        if made.marks:
            await asyncio.to_thread(monitor.inputs.observe, made.features, made.marks, now)
        monitor.predictions = made.last
        losses = [loss(row.answer, row.label, watched.manifest) for row in known.rows]
        monitor.losses.observe(losses, [row.mark for row in known.rows], now)
        monitor.outcomes = known.last
        monitor.asks.note(bool(monitor.opened()))
        self._publish(monitor)
        return made.full or known.full

    def _publish(self, monitor: ModelMonitor) -> None:
        evidence = gauge("seedcore_model_drift_evidence")
        evidence.set(monitor.inputs.alarms.evidence, model=monitor.name, monitor="inputs")
        evidence.set(monitor.losses.alarms.evidence, model=monitor.name, monitor="losses")
        evidence.set(monitor.losses.window.alarms.evidence, model=monitor.name, monitor="accuracy")
        measured = monitor.losses.window.measured()
        if measured is not None:
            gauge("seedcore_model_accuracy").set(measured.value, model=monitor.name)

    async def _save(self, watched: _WatchedModel) -> None:
        monitor = watched.monitor
        state = await asyncio.to_thread(monitor.inputs.to_bytes)
        async with self._database.connection() as connection:
            await monitor_store.save_monitor(connection, monitor.name, monitor.version, state, monitor.to_facts())
        watched.saved_at, watched.changed = time.monotonic(), False

    async def ask(self) -> None:
        """One round of asks: every model with an open monitor whose time has come."""
        await asyncio.gather(*(self._ask(watched) for watched in list(self._models.values())))

    async def _ask(self, watched: _WatchedModel) -> None:
        monitor = watched.monitor
        asks, now = monitor.asks, time.time()
        if now < asks.next_at or not (asks.active or asks.asking):
            return
        opened, rows = monitor.opened(), 0
        if opened:
            first = opened[0]
            since = first.alarms.since
            async with self._database.connection() as connection:
                rows = await monitor_store.labelled_since(connection, monitor.name, 0 if since is None else since.seq)
            model: dict[str, Any] = {
                "name": monitor.name,
                "monitor": first.monitor,
                "evidence": first.alarms.peak,
                "since": None if since is None else moment(since.made_at),
                "rows": rows,
                "observed": first.alarms.seen,
                "arl0": first.arl0,
            }
        elif asks.asking is None:
            return
        if not asks.due(now, rows, monitor.name in self._shadowing):
            return
        if asks.asking is None:
            key = f"model-{monitor.name}-{monitor.version}-{int(monitor.begun)}"
            asks.begin(key, model, {"version": monitor.version, "open": [one.monitor for one in opened]})
        async with watched.lock:
            # Stored before it is sent, so that a leader after this one sends the same request.
            await self._save(watched)
        await self._send(watched)

    async def _send(self, watched: _WatchedModel) -> None:
        asks, name = watched.monitor.asks, watched.monitor.name
        assert asks.asking is not None
        try:
            record = await self._coordinator.anomaly_triage(asks.asking)
        except (InvalidInputError, ConflictError) as error:
            self._log.warning("triage refused", model=name, reason=error.detail)
            asks.fail(error.detail, time.time(), refused=True)
        except SeedCoreError as error:
            self._log.warning("no triage", model=name, reason=error.detail)
            asks.fail(error.detail, time.time())
        else:
            caused = asks.answer(record, time.time())
            self._log.info("triage of a model", model=name, **caused)
        async with watched.lock:
            if self._models.get(name) is watched:
                await self._save(watched)
