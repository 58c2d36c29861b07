"""Writes predictions to the database in batches, beside the path of tasks."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import asyncpg

from seedcore.ml.gate.recorded_predictions import MAX_FEATURES, write_predictions
from seedcore.ml.predicting.prediction_row import PredictionRow
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.utils.waiting import wait_for_event

WAIT_S = 0.1
"""From the first prediction of a batch to its statement; a row is at most 200 ms late while the database answers."""
BATCH = 1_000
CAPACITY = 20_000
"""Predictions that wait at most, some 10 MB; the oldest are dropped, and counted."""
RETRY_S = (0.2, 5.0)
CLOSE_S = 5.0

_AWAY = (*DATABASE_ERRORS, TimeoutError)
_REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError, TypeError)


class PredictionRecorder:
    """The recorder of one process; it belongs to one event loop, that in which `record` is called.

    A prediction that was not written is no error of a task: it is missing where models are judged, and counted here.
    """

    def __init__(self, database: Database, *, capacity: int = CAPACITY) -> None:
        self._database, self._capacity = database, capacity
        self._waiting: deque[PredictionRow] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._closing = False
        self._written = self._dropped = self._refused = 0
        self._failing: str | None = None
        self._log = get_logger("seedcore.ml.recorder")

    def record(self, row: PredictionRow, /) -> None:
        """Take a prediction; returns at once, whatever the database does."""
        if len(row.features) > MAX_FEATURES:
            self._refuse(1)
            return
        if len(self._waiting) >= self._capacity:
            self._waiting.popleft()
            self._drop(1)
        self._waiting.append(row)
        if len(self._waiting) >= BATCH:
            self._hurry.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all(), name="record-predictions")

    def status(self) -> Mapping[str, object]:
        """`{waiting, written, dropped, refused, failing}`; `failing` says why nothing is written now, or is null."""
        return {
            "waiting": len(self._waiting),
            "written": self._written,
            "dropped": self._dropped,
            "refused": self._refused,
            "failing": self._failing,
        }

    async def aclose(self) -> None:
        """Write what waits, if the database answers within some seconds; the rest is dropped."""
        self._closing = True
        self._hurry.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=CLOSE_S)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        self._drop(len(self._waiting))
        self._waiting.clear()

    async def _write_all(self) -> None:
        pause = RETRY_S[0]
        while self._waiting:
            if self._failing is None:
                await wait_for_event(self._hurry, WAIT_S)
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if len(self._waiting) < BATCH and not self._closing:
                self._hurry.clear()
            try:
                await self._write(batch)
            except _AWAY as error:
                if self._failing is None:
                    self._log.warning("predictions are not written", reason=str(error))
                self._failing = f"{type(error).__name__}: {error}"
                self._put_back(batch)
                # A full queue is no reason to ask a database sooner that does not answer.
                self._hurry.clear()
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S[1])
            else:
                self._failing, pause = None, RETRY_S[0]

    async def _write(self, batch: Sequence[PredictionRow]) -> None:
        try:
            async with asyncio.timeout(10), self._database.connection(wait_s=2) as connection:
                await write_predictions(connection, batch)
        except _REFUSED as error:
            if len(batch) == 1:
                self._refuse(1)
                self._log.error("a prediction cannot be stored", model=batch[0].name, reason=str(error)[:200])
                return
            # One bad row must not cost the others.
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
        else:
            self._written += len(batch)
            counter("seedcore_predictions_recorded_total").add(len(batch), result="written")

    def _put_back(self, batch: Sequence[PredictionRow]) -> None:
        room = max(0, self._capacity - len(self._waiting))
        kept = batch[max(0, len(batch) - room) :] if room else []
        self._drop(len(batch) - len(kept))
        self._waiting.extendleft(reversed(kept))

    def _drop(self, number: int) -> None:
        self._dropped += number
        # One call a lost row at worst, which is while the database is away.
        if number:
            counter("seedcore_predictions_recorded_total").add(number, result="dropped")

    def _refuse(self, number: int) -> None:
        self._refused += number
        counter("seedcore_predictions_recorded_total").add(number, result="refused")
