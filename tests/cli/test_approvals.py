"""`seedcore approve` and `reject`, against a server that says what the test wants."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from .conftest import Run

ID = "01890000-0000-7000-8000-000000000001"
TASK: dict[str, Any] = {
    "id": ID,
    "type": "echo",
    "params": {},
    "status": "queued",
    "domain": None,
    "priority": 0,
    "queue": "default",
    "idempotency_key": None,
    "attempts": 0,
    "max_attempts": 5,
    "timeout_s": None,
    "run_after": None,
    "created_at": "2026-01-01T00:00:00+00:00",
    "started_at": None,
    "finished_at": None,
    "result": None,
    "error": None,
    "decision": None,
    "parent_id": None,
    "step": None,
    "deadline": None,
    "limit_key": None,
    "errors": [],
}


class Server:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, Any]] = []
        self.answer: tuple[int, dict[str, Any]] = (202, TASK)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.path, self.headers.get("Authorization"), json.loads(body) if body else None))
                status, answer = outer.answer
                kind = "application/json" if status < 400 else "application/problem+json"
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = str(self.http.server_port)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_task_is_released_with_the_callers_key(seedcore: Run, server: Server) -> None:
    done = seedcore("approve", ID, SEEDCORE_HTTP_PORT=server.port, SEEDCORE_API_KEY="k1")
    assert (done.returncode, done.stdout) == (0, f"{ID} released: queued\n"), done.stderr
    assert server.seen == [(f"/api/v1/tasks/{ID}/approve", "Bearer k1", None)]


def test_a_task_is_refused_for_a_reason_and_shown_as_json(seedcore: Run, server: Server) -> None:
    done = seedcore("reject", ID, "--reason", "too dear", "--json", SEEDCORE_HTTP_PORT=server.port)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == ID
    assert server.seen == [(f"/api/v1/tasks/{ID}/reject", None, {"reason": "too dear"})]


def test_one_who_may_not_gets_told_so(seedcore: Run, server: Server) -> None:
    problem = {"type": "urn:seedcore:problem:forbidden", "title": "Forbidden", "status": 403, "code": "forbidden"}
    server.answer = (403, {**problem, "detail": "Only approvers do this."})
    done = seedcore("approve", ID, SEEDCORE_HTTP_PORT=server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Only approvers do this." in done.stderr


@pytest.mark.parametrize("arguments", [("approve", "seven"), ("reject", ID), ("approve",)])
def test_a_wrong_argument_ends_with_2(seedcore: Run, arguments: tuple[str, ...]) -> None:
    assert seedcore(*arguments).returncode == 2
