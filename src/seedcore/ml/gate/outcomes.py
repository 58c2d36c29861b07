"""Takes what was true of earlier predictions: which tasks they are, and whether the labels fit the model."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from seedcore.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from seedcore.ml.gate.losses import label_problem
from seedcore.ml.gate.outcome_repository import PredictionOutcome, store_outcomes
from seedcore.ml.registry.aliases import AliasCache
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml.promotions import OutcomesRequest, OutcomesResponse
from seedcore.stores.postgres import Database
from seedcore.tasks.monitoring.task_lookup import StartedTask, started_tasks
from seedcore.telemetry.metrics import counter

PREDICT = "ml.predict"


class OutcomeIntake:
    """Stores labels of `ml.predict` tasks."""

    def __init__(self, store: ModelStore, database: Database, aliases: AliasCache) -> None:
        self._store, self._database, self._aliases = store, database, aliases

    async def take(self, request: OutcomesRequest, tenant: str | None) -> OutcomesResponse:
        """Store labels of tasks of `tenant` (None: of anybody); the first label of a task stays.

        Raises:
            InvalidInputError: a label is not of the kind of its model's labels; nothing was stored.
        """
        ids = list({one.task_id for one in request.outcomes})
        async with self._database.connection() as connection:
            known = {task.id: task for task in await started_tasks(connection, ids, PREDICT, tenant)}
        models = await self._models({task.name for task in known.values() if task.name is not None})
        known = {key: task for key, task in known.items() if task.name in models}
        outcomes = self._checked(request, known, models)
        async with self._database.transaction() as connection:
            accepted = await store_outcomes(connection, outcomes) if outcomes else 0
        unknown = list(dict.fromkeys(one.task_id for one in request.outcomes if one.task_id not in known))
        repeated = sum(one.task_id in known for one in request.outcomes) - accepted
        for result, number in (("accepted", accepted), ("unknown", len(unknown)), ("repeated", repeated)):
            if number:
                counter("seedcore_model_outcomes_total").add(number, result=result)
        return OutcomesResponse(accepted=accepted, unknown=unknown, repeated=repeated)

    def _checked(
        self, request: OutcomesRequest, known: Mapping[UUID, StartedTask], models: Mapping[str, ModelManifest]
    ) -> Sequence[PredictionOutcome]:
        found: dict[UUID, PredictionOutcome] = {}
        wrong: list[FieldError] = []
        for index, one in enumerate(request.outcomes):
            task = known.get(one.task_id)
            if task is None or task.name is None:
                continue
            kind = models[task.name].label_kind
            if (problem := label_problem(one.label, kind)) is not None:
                wrong.append(FieldError(f"outcomes.{index}.label", problem))
                continue
            label = int(one.label) if kind == "integer" else one.label
            found.setdefault(one.task_id, PredictionOutcome(one.task_id, task.tenant, task.name, label))
        if wrong:
            raise InvalidInputError.for_fields(wrong[:20])
        return list(found.values())

    async def _models(self, names: set[str]) -> dict[str, ModelManifest]:
        """What answers for each name now; a name without a stored model is left out."""
        aliases = await self._aliases.current() if names else None
        found = {}
        for name in names:
            version = None if aliases is None else aliases.of(name).get("champion")
            try:
                number = await asyncio.to_thread(self._store.latest, name) if version is None else version
                found[name] = await asyncio.to_thread(self._store.manifest, name, number)
            except (NotFoundError, ConflictError, InvalidInputError):
                continue
        return found
