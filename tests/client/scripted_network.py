"""A network for the operations of the client: scripted answers, and a clock that moves only with its pauses."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from seedcore.client.http_protocol import (
    CloseStream,
    ConnectionFailure,
    Emit,
    OpenStream,
    Pause,
    ReadStream,
    Reply,
    Request,
    SendRequest,
    Steps,
)
from seedcore.client.http_retry import HttpPolicy

TASK_ID = UUID("01890000-0000-7000-8000-000000000001")
GONE = ConnectionFailure("ConnectError: refused", sent=False)
LOST = ConnectionFailure("ReadError: reset", sent=True)


def task(status: str = "queued", **fields: Any) -> dict[str, Any]:
    """A task with the fixed fields of the API."""
    return {
        "id": str(TASK_ID),
        "type": "echo",
        "params": {},
        "status": status,
        "domain": None,
        "priority": 0,
        "queue": "default",
        "idempotency_key": None,
        "attempts": 0,
        "max_attempts": 5,
        "run_after": None,
        "created_at": "2026-01-01T00:00:00+00:00",
        "started_at": None,
        "finished_at": None,
        "result": None,
        "error": None,
        "decision": None,
        "parent_id": None,
        **fields,
    }


def ok(body: Any, status: int = 200) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(body).encode())


def problem(status: int, code: str, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    document = {"type": "urn:x", "title": "T", "status": status, "detail": f"it is {code}", "code": code, **fields}
    return Reply(status, {"content-type": "application/problem+json", **(headers or {})}, json.dumps(document).encode())


def event(number: int, name: str, **data: Any) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


@dataclass
class Delayed:
    """The answer of a step, after so many seconds."""

    seconds: float
    answer: Any


@dataclass
class Network:
    """Answers each request with the next of `answers`; an event stream is a list of its pieces."""

    answers: Iterator[Any] | Callable[[Request], Any]
    time: float = 1000.0
    requests: list[Request] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    emitted: list[Any] = field(default_factory=list)
    _pieces: Iterator[Any] = field(default_factory=lambda: iter(()))

    def policy(self, **fields: Any) -> HttpPolicy:
        return HttpPolicy("http://seedcore.test", now=lambda: self.time, jitter=lambda: 1.0, **fields)

    def run(self, steps: Steps[Any]) -> Any:
        """The operation's result, after answering all of its steps."""
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            answer = self._do(step)

    def _do(self, step: Any) -> Any:
        match step:
            case SendRequest(request, timeout_s) | OpenStream(request, timeout_s):
                self.requests.append(request)
                self.timeouts.append(timeout_s)
                answer = self._now(self.answers(request) if callable(self.answers) else next(self.answers))
                if not isinstance(answer, list):
                    return answer
                assert isinstance(step, OpenStream), "an event stream for a request without one"
                self._pieces = iter(answer)
                return Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
            case ReadStream():
                return self._now(next(self._pieces, b""))
            case Pause(seconds):
                assert seconds >= 0
                self.pauses.append(seconds)
                self.time += seconds
            case Emit(item):
                self.emitted.append(item)
            case CloseStream():
                self._pieces = iter(())
        return None

    def _now(self, answer: Any) -> Any:
        if isinstance(answer, Delayed):
            self.time += answer.seconds
            return answer.answer
        return answer


def network(*answers: Any) -> Network:
    return Network(iter(answers))
