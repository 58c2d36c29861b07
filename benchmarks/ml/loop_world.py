"""The parts of SeedCore that make the loop, in one process: predictions, monitors, triage, retraining, gate."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson

from seedcore.cognitive.service import CognitiveService
from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.triage.actions import TriageTools, load_actions
from seedcore.coordinator.triage.repository import TriageRepository
from seedcore.coordinator.triage.run_triage import TriageRunner
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.errors import UnavailableError
from seedcore.ml.data.dataset import Table
from seedcore.ml.data.training_data import TrainingData
from seedcore.ml.gate.keeper import GateKeeper
from seedcore.ml.gate.outcome_repository import PredictionOutcome, store_outcomes
from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.gate.recorded_predictions import write_predictions
from seedcore.ml.monitoring.monitor_keeper import MonitorKeeper
from seedcore.ml.monitoring.retrain_job import RetrainJob
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.predicting.prediction_row import ModelAnswer, PredictionRow
from seedcore.ml.registry.aliases import AliasCache, read_aliases
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training.model_draft import draft, reference_file
from seedcore.ml.training.train import train
from seedcore.schemas.cognitive.decisions import MakeDecisionResponse
from seedcore.schemas.cognitive.failures import ReasonResponse
from seedcore.schemas.ml.models import TrainRequest
from seedcore.schemas.ml.retraining import RetrainRequest
from seedcore.schemas.ml.salience import SalienceResponse
from seedcore.schemas.triage import TriageRequest
from seedcore.settings import Settings, load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.tasks.submission.validate import Submission

POLICY = "triage: {{actions: {{retrain: {{models: ['*'], every_s: 1, per_day: 1000, rows: {rows}, fresh_rows: 250}}}}}}"
BACK = "1 second"


class _Reasoning:
    """The Cognitive service, without HTTP."""

    def __init__(self, settings: Settings) -> None:
        self._service = CognitiveService({}, settings)

    async def reason_about_failure(self, request: Mapping[str, object]) -> ReasonResponse:
        return ReasonResponse.model_validate(await self._service.invoke("/reason-about-failure", dict(request)))

    async def make_decision(self, request: Mapping[str, object]) -> MakeDecisionResponse:
        return MakeDecisionResponse.model_validate(await self._service.invoke("/make-decision", dict(request)))

    async def aclose(self) -> None:
        await self._service.stop()


class _Triage:
    """The Coordinator's triage, without HTTP."""

    def __init__(self, runner: TriageRunner) -> None:
        self._runner = runner

    async def anomaly_triage(self, request: Mapping[str, object]) -> dict[str, Any]:
        return dict(await self._runner.run(TriageRequest.model_validate(request)))


class _NoScorer:
    """Nothing here asks for the salience of an incident, so the formula's is recorded."""

    async def score_salience(self, items: Sequence[Mapping[str, float | None]]) -> SalienceResponse:
        raise UnavailableError(f"{len(items)} items are not scored in this benchmark.")


class _NoEnergy:
    """Nothing runs here whose energy could be measured."""

    async def change(self, since: datetime, type_: str, window_s: float) -> Mapping[str, object]:
        return {"measured": False, "why": "this benchmark has no workers", "since": since, "type": type_, "s": window_s}


@dataclass(slots=True)
class LoopWorld:
    """One model, its stream, and all that watches and changes it."""

    name: str
    settings: Settings
    database: Database
    store: ModelStore
    policy: PolicyRuntime
    reasoning: _Reasoning
    monitors: MonitorKeeper
    gate: GateKeeper
    aliases: AliasCache
    retrained: int = 0
    events: list[dict[str, object]] = field(default_factory=list)
    _models: dict[int, LoadedModel] = field(default_factory=dict)
    _known: tuple[bool, int | None, int | None] = (False, None, None)

    @classmethod
    async def begin(cls, dsn: str, folder: Path, name: str, rows: int) -> "LoopWorld":
        """The parts, with a policy that lets the model be retrained."""
        path = folder / f"{name}.yaml"
        path.write_text(POLICY.format(rows=rows))
        settings = load_settings(data_dir=folder / name, pg_dsn=dsn, policy_path=path)
        database = Database(settings, name="bench-loop")
        store = ModelStore(settings.models_dir)
        store.prepare()
        actions = load_actions(settings)
        policy = PolicyRuntime(settings, database, _NoScorer(), actions)
        policy.start()
        submission = Submission(settings, SkillRegistry.load(settings))
        tools = TriageTools(database, policy.holds, policy.maintenance, submission, Webhooks({}), settings.model_jobs)
        reasoning = _Reasoning(settings)
        # A triage of a model has no series, so no detector is asked.
        detector: Any = None
        runner = TriageRunner(detector, reasoning, policy, tools, actions, TriageRepository(database, 86_400))
        aliases = AliasCache(database)
        gate = GateKeeper(Promotions(settings, store, database), aliases, _NoEnergy())
        monitors = MonitorKeeper(database, store, _Triage(runner), settings.arl0)
        return cls(name, settings, database, store, policy, reasoning, monitors, gate, aliases)

    async def aclose(self) -> None:
        """Close everything."""
        await self.policy.aclose()
        await self.reasoning.aclose()
        await self.aliases.aclose()
        await self.database.aclose()

    async def first(self, table: Table, params: dict[str, float | int]) -> None:
        """Train the first version, and let it answer."""
        trained = await asyncio.to_thread(train, table, params, threading.Event())
        described = TrainRequest(name=self.name, rows=[], columns=[], label_column=table.label_column)
        manifest = draft(described, TrainingData(table, "rows"), trained)
        stored = self.store.save(trained.ubj, manifest, reference_file(trained))
        await self._promotions().promote(self.name, stored.version)
        await self.monitors.run()

    def _promotions(self) -> Promotions:
        return Promotions(self.settings, self.store, self.database)

    async def predict(self, rows: Sequence[list[object]]) -> list[tuple[str, object]]:
        """(task id, answer) of each row, recorded as a worker does, with the shadow's answer."""
        async with self.database.connection() as connection:
            aliases = await read_aliases(connection)
        champion = aliases.of(self.name)["champion"]
        shadow = aliases.shadows.get(self.name)
        model = await self._model(champion)
        matrix = model.encode(rows).matrix
        answers = model.answer(matrix)
        others = [None] * len(rows) if shadow is None else (await self._model(shadow.candidate)).answer(matrix)
        made = [
            PredictionRow(
                task_id=str(uuid4()),
                tenant="default",
                name=self.name,
                version=champion,
                answer=ModelAnswer(*answer),
                features=features,
                seconds=1e-4,
                promotion=None if shadow is None else shadow.promotion,
                candidate=None if shadow is None else shadow.candidate,
                candidate_answer=None if other is None else ModelAnswer(*other),
                candidate_seconds=None if shadow is None else 1e-4,
            )
            for answer, features, other in zip(answers, matrix.tolist(), others, strict=True)
        ]
        async with self.database.connection() as connection:
            await write_predictions(connection, made)
            ids = [UUID(one.task_id) for one in made]
            await connection.execute(
                f"update seedcore.predictions set made_at = made_at - interval '{BACK}' where task_id = any($1)",
                ids,
            )
        return [(one.task_id, answer[0]) for one, answer in zip(made, answers, strict=True)]

    async def tell(self, labels: Sequence[tuple[str, object]]) -> None:
        """What was true of earlier tasks."""
        if not labels:
            return
        outcomes = [PredictionOutcome(UUID(task), "default", self.name, label) for task, label in labels]
        async with self.database.connection() as connection:
            await store_outcomes(connection, outcomes)
            await connection.execute(
                f"update seedcore.outcomes set known_at = known_at - interval '{BACK}' where task_id = any($1)",
                [one.task_id for one in outcomes],
            )

    async def step(self, task: int) -> None:
        """What the leader of the ML service does every half second, and a worker with a retraining."""
        await self.monitors.run()
        await self.gate.run()
        await self.monitors.ask()
        async with self.database.connection() as connection:
            submitted = await connection.fetch(
                "select id, params::text as params from seedcore.tasks where type = 'ml.retrain'"
                " and params ->> 'name' = $1 order by created_at offset $2",
                self.name,
                self.retrained,
            )
        for row in submitted:
            job = RetrainJob(self.settings, self.database, self.store, row["id"])
            result = await job.run(RetrainRequest.model_validate(orjson.loads(row["params"])))
            self.retrained += 1
            fields = ("version", "status", "rows", "fresh_rows", "old_weight")
            self._note(task, "retrained", **{name: getattr(result, name) for name in fields})
        await self._watch(task)

    async def _watch(self, task: int) -> None:
        watched = self.monitors._models.get(self.name)
        opened = [] if watched is None else [one.monitor for one in watched.monitor.opened()]
        async with self.database.connection() as connection:
            aliases = (await read_aliases(connection)).of(self.name)
        now = bool(opened), aliases.get("champion"), aliases.get("candidate")
        if now != self._known:
            self._note(task, "state", open=opened, champion=now[1], candidate=now[2])
            self._known = now

    def _note(self, task: int, event: str, **facts: object) -> None:
        self.events.append({"task": task, "event": event, **facts})

    async def _model(self, version: int) -> LoadedModel:
        if version not in self._models:
            self._models[version] = LoadedModel(*await asyncio.to_thread(self.store.load, self.name, version))
        return self._models[version]
