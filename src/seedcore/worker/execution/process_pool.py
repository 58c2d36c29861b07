"""Runs CPU-heavy skills in processes: one is killed when its call takes too long, and replaced when it dies."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, cast

import orjson

from seedcore.errors import SkillError, UnavailableError
from seedcore.skills.context import ProgressSink
from seedcore.skills.reports import SkillProgress
from seedcore.skills.skill_decorator import SkillSpec
from seedcore.tasks.failure_codes import FailureCode
from seedcore.worker.execution.attempt_codec import AttemptFailure, ProcessCall
from seedcore.worker.execution.run_scope import adopt
from seedcore.worker.execution.task_pool import Job

WORKER_MODULE = "seedcore.worker.execution.process_worker"
LENGTH = struct.Struct("!I")
START_S = 60.0
"""Longest time that a process may take to start: it imports SeedCore and the skill's module."""

MAX_CALLS = 1000
"""Calls after which a process is replaced: what a skill leaks goes with it."""


class ProcessDiedError(SkillError):
    """The process ended during the call: os._exit, a signal, out of memory."""

    code = FailureCode.SKILL_PROCESS_DIED.value


class Ping(TypedDict):
    """Asks whether a process is ready."""

    ping: bool


@dataclass(slots=True)
class SkillProcess:
    """One process, and the socket to it."""

    process: "subprocess.Popen[bytes]"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    calls: int = 0

    def kill(self) -> None:
        """End it now."""
        self.writer.close()
        self.process.kill()
        # SIGKILL cannot be refused: this ends at once, and leaves no zombie.
        self.process.wait()

    async def request(
        self, call: ProcessCall | Ping, progress: Callable[[SkillProgress], None] | None = None
    ) -> dict[str, object]:
        """Send a call and read its answer; `progress` is called with what comes before it.

        Raises:
            ProcessDiedError: it ended before it answered.
        """
        frame = orjson.dumps(call)
        try:
            self.writer.write(LENGTH.pack(len(frame)) + frame)
            await self.writer.drain()
            while "progress" in (answer := await self._frame()):
                if progress is not None:
                    progress(cast(SkillProgress, answer["progress"]))
        except (asyncio.IncompleteReadError, OSError):
            raise ProcessDiedError(f"the skill's process ended with {await self._ending()}") from None
        return answer

    async def _frame(self) -> dict[str, object]:
        head = await self.reader.readexactly(LENGTH.size)
        frame: dict[str, object] = orjson.loads(await self.reader.readexactly(LENGTH.unpack(head)[0]))
        return frame

    async def _ending(self) -> str:
        for _ in range(100):
            if (code := self.process.poll()) is not None:
                return f"signal {-code}" if code < 0 else f"exit status {code}"
            await asyncio.sleep(0.01)
        return "its socket closed"


class ProcessPool:
    """Processes that are started on first use and kept; none is ever forked from this one without an exec."""

    def __init__(self) -> None:
        self._idle: list[SkillProcess] = []
        self.alive = 0

    async def get(self) -> SkillProcess:
        """An idle process; the caller returns it by `call`.

        Raises:
            UnavailableError: none could be started.
        """
        while self._idle:
            child = self._idle.pop()
            if child.process.poll() is None:
                return child
            self._drop(child)
        return await self._start()

    async def call(
        self, child: SkillProcess, spec: SkillSpec, job: Job, sink: ProgressSink | None = None
    ) -> str | AttemptFailure:
        """Run a skill in `child`; the result is JSON text, progress goes to `sink`. Cancelled, the process is killed.

        Raises:
            ProcessDiedError: the process ended in between.
        """
        call = job.call
        request: ProcessCall = {
            "module": spec.function.__module__,
            "function": spec.function.__name__,
            "skill": call.skill,
            "params": call.params,
            "task_id": call.task_id,
            "attempt": call.attempt,
            "token": call.token,
            "idempotency_key": call.idempotency_key,
            "agent": call.agent,
            "tenant": call.tenant,
            "traceparent": call.traceparent,
        }
        progress = None if sink is None else partial(sink.report, call.task_id, call.token)
        try:
            answer = await child.request(request, progress)
        except BaseException:
            self._drop(child)
            raise
        child.calls += 1
        if child.calls < MAX_CALLS:
            self._idle.append(child)
        else:
            self._drop(child)
        if isinstance(spent := answer.get("usage"), list):
            job.usage = (spent[0], spent[1])
        adopt(answer)
        if "result" in answer:
            return str(answer["result"])
        return AttemptFailure(str(answer["code"]), str(answer["message"]), bool(answer["retryable"]))

    def close(self) -> None:
        """End the idle processes."""
        while self._idle:
            self._drop(self._idle.pop())

    def _drop(self, child: SkillProcess) -> None:
        self.alive -= 1
        child.kill()

    async def _start(self) -> SkillProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [
                sys.executable,
                "-m",
                WORKER_MODULE,
                str(theirs.fileno()),
                str(os.getpid()),
            ]
            # Children import what this process can: Ray puts folders on the path that they would not know.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            try:
                process = subprocess.Popen(  # noqa: ASYNC220 - a vfork and an exec: some milliseconds
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
                )
            except OSError as error:
                ours.close()
                raise UnavailableError(f"no process for the skill: {error}", retry_after_s=1) from error
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 26)
        child = SkillProcess(process, reader, writer)
        self.alive += 1
        try:
            async with asyncio.timeout(START_S):
                await child.request({"ping": True})
        except BaseException as error:
            self._drop(child)
            if isinstance(error, TimeoutError):
                raise UnavailableError(f"the skill's process did not start within {START_S:g} s") from None
            raise
        return child
