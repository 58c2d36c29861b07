"""Runs an event loop in a thread, for actors whose work must continue between calls."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import TypeVar

import uvloop

from seedcore.telemetry.logs import get_logger

Result = TypeVar("Result")


class BackgroundLoop:
    """Runs coroutines in a thread that lives as long as the process."""

    def __init__(self, name: str) -> None:
        self._log = get_logger("seedcore.background", loop=name)
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self.loop.is_closed():
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of any task come out here
                self._log.warning("task raised an exit, event loop continues", reason=type(error).__name__)

    def start(self, work: Coroutine[object, object, Result]) -> "concurrent.futures.Future[Result]":
        """Start `work` in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[object, object, Result], timeout_s: float) -> Result:
        """Run `work` in the loop and wait for it.

        Raises:
            TimeoutError: it took longer than `timeout_s`; it is cancelled then.
        """
        future = self.start(work)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise


def stay_cancelled(error: BaseException) -> None:
    """Call where an error is caught and work continues: an error in the cleanup of a cancelled task replaces its
    cancellation, and the task would never end.

    Raises:
        asyncio.CancelledError: the current task is being cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
