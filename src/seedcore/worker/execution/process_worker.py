"""The process that runs CPU-heavy skills, one call after the other.

Started as `python -m seedcore.worker.execution.process_worker FD PARENT`.

What crosses is JSON in frames of a 4-byte length: nothing is unpickled. The socket is a descriptor of its own, so that
what a skill prints disturbs nothing. When the host goes, this process goes with it.
"""

import ctypes
import importlib
import os
import signal
import socket
import struct
import sys
from typing import cast

import orjson
from structlog.typing import FilteringBoundLogger

from seedcore.settings import get_settings
from seedcore.skills.skill_decorator import MARK, SkillContext, SkillSpec
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.worker.execution.attempt_codec import AttemptFailure, ProcessCall, attempt, failure_of

LENGTH = struct.Struct("!I")
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer calls until the host closes the socket."""
    link = socket.socket(fileno=int(sys.argv[1]))
    _end_with_parent(int(sys.argv[2]))
    settings = get_settings()
    configure_logs(settings)
    process = os.getpid()
    while (frame := _read(link)) is not None:
        answer = orjson.dumps(_answer(orjson.loads(frame), settings.max_result_bytes))
        if os.getpid() != process:
            # The skill has forked, and this is the copy: a second answer would be read as that of the next call.
            os._exit(0)
        link.sendall(LENGTH.pack(len(answer)) + answer)


def _end_with_parent(parent: int) -> None:
    """Let the kernel end this process when its parent ends, also while a skill computes (Linux; elsewhere: at EOF)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _read(link: socket.socket) -> bytes | None:
    head = _exactly(link, LENGTH.size)
    return None if head is None else _exactly(link, LENGTH.unpack(head)[0])


def _exactly(link: socket.socket, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = link.recv(min(left, 1 << 20))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _answer(frame: dict[str, object], limit: int) -> dict[str, object]:
    if "ping" in frame:
        return {"ready": True}
    call = cast(ProcessCall, frame)
    log: FilteringBoundLogger = get_logger("seedcore.worker.process").bind(skill=call["skill"], task=call["task_id"])
    meter = _Meter()
    answer = _run(call, limit, log, meter)
    return answer if meter.usage is None else {**answer, "usage": meter.usage}


class _Meter:
    usage: tuple[float, float] | None = None


def _run(call: ProcessCall, limit: int, log: FilteringBoundLogger, meter: _Meter) -> dict[str, object]:
    context = SkillContext(
        call["task_id"],
        call["attempt"],
        call["token"],
        call["idempotency_key"],
        log.bind(attempt=call["attempt"]),
        agent_id=call["agent"],
        meter=meter,
    )
    ending: str | AttemptFailure
    try:
        spec = _spec(call["module"], call["function"])
    except BaseException as error:  # noqa: BLE001 - importing a skill's module may raise anything
        ending = failure_of(error, log)
    else:
        ending = attempt(spec, call["params"], context, limit)
    return ending._asdict() if isinstance(ending, AttemptFailure) else {"result": ending}


def _spec(module: str, function: str) -> SkillSpec:
    spec: SkillSpec = getattr(getattr(importlib.import_module(module), function), MARK)
    return spec


if __name__ == "__main__":
    main()
