"""Predictions in a worker's own process: calls that come together share a batch, and no call leaves the process.

A batch is answered by one version. While a promotion is open, its candidate answers the same rows after that, in the
shadow; what both said is recorded.
"""

import asyncio
import copy
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.ml.gate.prediction_recorder import PredictionRecorder
from seedcore.ml.predicting.batch_answers import BatchAnswers, answer_batch
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.predicting.predictor import Predictor, is_short
from seedcore.ml.predicting.shadow_rows import prediction_rows
from seedcore.ml.registry.aliases import AliasCache, ModelAliases
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml.models import Features, PredictRequest, PredictResponse
from seedcore.settings import Settings
from seedcore.skills.context import PredictionClient
from seedcore.stores.postgres import Database
from seedcore.telemetry.lean_imports import without
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics.metric_registry import counter

MAX_BATCH = 1_024
WINDOW_S = 0.002
"""A batch waits for more rows at most so long."""
QUIET_TURNS = 2
"""A batch that got no row in so many turns of the event loop waits no longer."""

Key = tuple[str, int | None, str | None]
"""Name, version and alias that were asked for."""


@dataclass(slots=True)
class _Row:
    features: Features
    answer: asyncio.Future[PredictResponse]
    task_id: str
    tenant: str
    contributions: bool


@dataclass(slots=True)
class _Batch:
    key: Key
    ends_at: float
    rows: list[_Row] = field(default_factory=list)
    seen: int = 0
    quiet: int = 0
    sent: bool = False


class LocalPredictions:
    """The models of one process, and the calls that wait for them. It belongs to one event loop."""

    name: ClassVar[str] = "ml_predict"

    def __init__(self, settings: Settings) -> None:
        self._store = ModelStore(settings.models_dir)
        self._database = Database(settings, size=2, name="seedcore-predict")
        self._aliases = AliasCache(self._database)
        self._predictor = Predictor(self._store, self._aliases, settings.model_cache_bytes)
        self._recorder = PredictionRecorder(self._database)
        self._filling: dict[Key, _Batch] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._log = get_logger("seedcore.ml.predict")
        self._silent = set[str]()
        """Names whose candidate could not answer the last batch."""
        self.remote = 0
        """Predictions that the ML service made, because this node has no model folder."""

    async def warm_up(self, remote: PredictionClient) -> None:
        """Get ready for the first call: the ML service where it must be asked, else XGBoost and the aliases.

        Raises:
            UnavailableError: what it needs does not answer yet.
        """
        if not await asyncio.to_thread(lambda: self._store.present):
            await remote.reach()
            return
        await asyncio.to_thread(_import)
        await self._aliases.current()

    async def predict(
        self, request: PredictRequest, task_id: str, tenant: str, remote: PredictionClient
    ) -> PredictResponse:
        """Predict one row; calls of the same moment for the same model share a batch.

        Raises:
            InvalidInputError: this row does not fit the model; others of its batch are not affected.
            NotFoundError: there is no such model, version or alias.
            ConflictError: the model's files are damaged.
            UnavailableError: aliases are needed, and PostgreSQL has never answered.
        """
        if not self._store.present:
            return await self._ask(request, remote)
        loop = asyncio.get_running_loop()
        key = (request.name, request.version, request.alias)
        batch = self._filling.get(key)
        if batch is None:
            batch = self._filling[key] = _Batch(key, loop.time() + WINDOW_S)
            loop.call_soon(self._look, batch)
        answer: asyncio.Future[PredictResponse] = loop.create_future()
        batch.rows.append(_Row(request.features, answer, task_id, tenant, request.contributions))
        if len(batch.rows) >= MAX_BATCH:
            self._send(batch)
        return await answer

    def status(self) -> Mapping[str, object]:
        """`{loaded, cache_bytes, evicted, remote, recorded, candidates_failing, aliases_stale?}`."""
        models = self._predictor.models
        facts: dict[str, object] = {
            "loaded": len(models),
            "cache_bytes": models.size,
            "evicted": models.evicted,
            "remote": self.remote,
            "recorded": self._recorder.status(),
            "candidates_failing": sorted(self._silent),
        }
        return facts if self._aliases.stale is None else facts | {"aliases_stale": self._aliases.stale}

    async def aclose(self) -> None:
        """Answer what waits, write what is to be recorded, and close the connections."""
        for batch in list(self._filling.values()):
            self._send(batch)
        while self._working:
            await asyncio.wait(self._working)
        await self._recorder.aclose()
        await self._aliases.aclose()
        await self._database.aclose()

    async def _ask(self, request: PredictRequest, remote: PredictionClient) -> PredictResponse:
        answer = await remote.predict(
            request.name, request.features, request.version, request.alias, contributions=request.contributions
        )
        self.remote += 1
        counter("seedcore_fallbacks_total").add(1, fallback="ml_predict_remote")
        return PredictResponse.model_validate(answer, from_attributes=True)

    def _look(self, batch: _Batch) -> None:
        """Once a turn of the loop: tasks begin a few a turn, so a batch that still grows waits for the next turn."""
        if batch.sent:
            return
        loop = asyncio.get_running_loop()
        grown = len(batch.rows) > batch.seen
        batch.seen, batch.quiet = len(batch.rows), 0 if grown else batch.quiet + 1
        if batch.quiet < QUIET_TURNS and loop.time() < batch.ends_at:
            loop.call_soon(self._look, batch)
        else:
            self._send(batch)

    def _send(self, batch: _Batch) -> None:
        batch.sent = True
        del self._filling[batch.key]
        # Callers that were cancelled while the batch was filling need no answer.
        batch.rows = [row for row in batch.rows if not row.answer.done()]
        if not batch.rows:
            return
        aliases, model = self._aliases.fresh(), self._predictor.ready(*batch.key)
        if aliases is None or model is None or not is_short(model, len(batch.rows)):
            self._start(self._work(batch))
            return
        try:
            self._give(batch, model, answer_batch(model, _inputs(batch)), aliases)
        except Exception as error:  # noqa: BLE001 - no caller may wait for an answer that never comes
            _fail(batch, error)

    async def _work(self, batch: _Batch) -> None:
        try:
            aliases = await self._current(batch.key)
            model = await self._predictor.find(*batch.key)
            inputs = _inputs(batch)
            if is_short(model, len(inputs)):
                answers = answer_batch(model, inputs)
            else:
                answers = await asyncio.to_thread(answer_batch, model, inputs)
            self._give(batch, model, answers, aliases)
        except BaseException as error:
            _fail(batch, error)
            if not isinstance(error, Exception):
                raise

    async def _current(self, key: Key) -> ModelAliases | None:
        try:
            return await self._aliases.current()
        except UnavailableError:
            _, version, alias = key
            if version is None and alias != "latest":
                raise
            return None

    def _give(self, batch: _Batch, model: LoadedModel, answers: BatchAnswers, aliases: ModelAliases | None) -> None:
        for row, answer in zip(batch.rows, answers.responses, strict=True):
            if row.answer.done():
                continue
            if isinstance(answer, PredictResponse):
                row.answer.set_result(answer)
            else:
                row.answer.set_exception(answer)
        if aliases is not None and "champion" in aliases.of(batch.key[0]):
            self._start(self._record(batch, model, answers, aliases))

    async def _record(self, batch: _Batch, model: LoadedModel, answers: BatchAnswers, aliases: ModelAliases) -> None:
        """After the answers: the shadow, and the rows to keep. What goes wrong here is no task's error."""
        name, version, alias = batch.key
        shadow = aliases.shadows.get(name) if version is None and alias in (None, "champion") else None
        candidate = None
        try:
            if shadow is not None:
                candidate = await self._predictor.find(name, shadow.candidate)
            self._silent.discard(name)
        except SeedCoreError as error:
            if name not in self._silent:
                # Once, not for each batch; the evidence of the promotion counts what was not answered.
                self._silent.add(name)
                self._log.warning("the candidate cannot answer", model=name, reason=error.detail)
        work = (model, answers, [(row.task_id, row.tenant, row.features) for row in batch.rows], shadow, candidate)
        try:
            if candidate is None or is_short(candidate, len(batch.rows)):
                rows = prediction_rows(*work)
            else:
                rows = await asyncio.to_thread(prediction_rows, *work)
        except Exception as error:  # noqa: BLE001 - what is recorded must not end what records
            self._log.error("predictions are not recorded", model=name, exc_info=error)
            return
        for row in rows:
            self._recorder.record(row)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


def _inputs(batch: _Batch) -> list[tuple[Features, bool]]:
    return [(row.features, row.contributions) for row in batch.rows]


def _fail(batch: _Batch, error: BaseException) -> None:
    for row in batch.rows:
        if row.answer.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            row.answer.cancel()
        else:
            # Each caller gets its own copy: they add tracebacks of their own.
            row.answer.set_exception(copy.copy(error))


def _import() -> None:
    with without("sklearn"):
        import xgboost  # noqa: F401
