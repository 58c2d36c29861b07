"""A language model that says what a test wrote down: OpenAI's protocol on loopback, slow or bad if asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted-1"


@dataclass
class ModelTurn:
    """One answer.

    Attributes:
        text: what the model says; a dict or list is sent as JSON text.
        tool_calls: (name, arguments) instead of text.
        status: of HTTP; an error's body is `text`.
        wait: what is waited for before anything is sent; the test sets it, and so does the end of the server.
        raw: bytes that are sent in place of a well-formed answer.
        cut_after: a stream breaks off after so many events, and an answer in one piece in its middle.
        usage: (prompt tokens, completion tokens); None: the answer says nothing of them.
        headers: of the response, beside its own.
        pieces: into how many events a streamed text is cut.
    """

    text: Any = "ok"
    tool_calls: Sequence[tuple[str, Any]] = ()
    status: int = 200
    wait: threading.Event | None = None
    raw: bytes | None = None
    cut_after: int | None = None
    usage: tuple[int, int] | None = (10, 5)
    headers: dict[str, str] = field(default_factory=dict)
    pieces: int = 3


Answer = ModelTurn | Callable[[dict[str, Any]], ModelTurn]


@dataclass
class ScriptedModel:
    """The server. `turns` are answered in order, the last one again and again; each may be a function of the request.

    Attributes:
        url: its base URL, which ends in `/v1`.
        requests: bodies of chat requests, as they came.
        headers: of the same requests, names in lower case.
        models: what `/v1/models` lists.
        most_at_once: most requests that were open together.
    """

    turns: list[Answer] = field(default_factory=lambda: [ModelTurn()])
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=lambda: [MODEL])
    most_at_once: int = 0
    _open: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _events: list[threading.Event] = field(default_factory=list)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Overrides for `load_settings` that point at it."""
        return {"llm_provider": "vllm", "llm_upstream_url": self.url, **more}

    def say(self, *turns: Answer) -> None:
        """Replace what is answered from now on."""
        with self._lock:
            self.turns = list(turns)

    def until(self, count: int, timeout_s: float = 20) -> None:
        """Wait until so many chat requests have come."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= count, timeout_s), len(self.requests)

    def begin(self, body: dict[str, Any], headers: dict[str, str]) -> ModelTurn:
        """Note a request, and choose its answer."""
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            answer = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
            self._lock.notify_all()
        turn = answer if isinstance(answer, ModelTurn) else answer(body)
        if turn.wait is not None:
            with self._lock:
                self._events.append(turn.wait)
            turn.wait.wait(60)
        return turn

    def end(self) -> None:
        """A request was answered."""
        with self._lock:
            self._open -= 1

    def let_go(self) -> None:
        """End every wait."""
        with self._lock:
            for event in self._events:
                event.set()


def message_of(turn: ModelTurn) -> dict[str, Any]:
    """The message of an answer."""
    if turn.tool_calls:
        calls = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(turn.tool_calls)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    return {"role": "assistant", "content": turn.text if isinstance(turn.text, str) else json.dumps(turn.text)}


def usage_of(turn: ModelTurn) -> dict[str, int] | None:
    """What the answer says it used."""
    if turn.usage is None:
        return None
    return {"prompt_tokens": turn.usage[0], "completion_tokens": turn.usage[1], "total_tokens": sum(turn.usage)}


def whole(turn: ModelTurn, model: str) -> bytes:
    """An answer in one piece."""
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message_of(turn),
                "finish_reason": "tool_calls" if turn.tool_calls else "stop",
            }
        ],
    }
    if (usage := usage_of(turn)) is not None:
        document["usage"] = usage
    return json.dumps(document).encode()


def events(turn: ModelTurn, model: str, with_usage: bool) -> Iterator[bytes]:
    """An answer as a stream of events."""

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"

    message = message_of(turn)
    if turn.tool_calls:
        calls = [{"index": number, **call} for number, call in enumerate(message["tool_calls"])]
        yield event([{"index": 0, "delta": {"role": "assistant", "tool_calls": calls}, "finish_reason": None}])
    else:
        text = message["content"]
        size = max(1, -(-len(text) // turn.pieces))
        for at in range(0, max(1, len(text)), size):
            yield event([{"index": 0, "delta": {"content": text[at : at + size]}, "finish_reason": None}])
    yield event([{"index": 0, "delta": {}, "finish_reason": "tool_calls" if turn.tool_calls else "stop"}])
    if with_usage and (usage := usage_of(turn)) is not None:
        yield event([], usage=usage)
    yield b"data: [DONE]\n\n"


@contextmanager
def scripted_model(*turns: Answer) -> Iterator[ScriptedModel]:
    """A model that answers `turns`, on a free port of loopback."""
    model = ScriptedModel()
    if turns:
        model.turns = list(turns)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in model.models]
            self.reply(200, json.dumps({"object": "list", "data": data}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path.endswith("/embeddings"):
                self.embed(body)
                return
            turn = model.begin(body, {name.lower(): value for name, value in self.headers.items()})
            try:
                self.answer(turn, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                model.end()

        def embed(self, body: dict[str, Any]) -> None:
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = [
                {"object": "embedding", "index": number, "embedding": [float(len(str(text))), 1.0, 0.0]}
                for number, text in enumerate(texts)
            ]
            usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
            answer = {"object": "list", "model": body["model"], "data": data, "usage": usage}
            self.reply(200, json.dumps(answer).encode())

        def answer(self, turn: ModelTurn, body: dict[str, Any]) -> None:
            name = body.get("model", MODEL)
            if turn.status != 200:
                text = turn.text if isinstance(turn.text, str) else json.dumps(turn.text)
                error = turn.raw or json.dumps({"error": {"message": text, "code": None}}).encode()
                self.reply(turn.status, error, turn.headers)
            elif body.get("stream"):
                self.stream(turn, name, bool((body.get("stream_options") or {}).get("include_usage")))
            else:
                content = turn.raw if turn.raw is not None else whole(turn, name)
                self.reply(200, content, turn.headers, cut=turn.cut_after is not None)

        def reply(self, status: int, content: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = self.close_connection or cut

        def stream(self, turn: ModelTurn, name: str, with_usage: bool) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            parts = [turn.raw] if turn.raw is not None else list(events(turn, name, with_usage))
            for part in parts[: turn.cut_after]:
                self.wfile.write(part)
                self.wfile.flush()
            self.close_connection = True

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.request_queue_size = 512
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        model.let_go()
        server.shutdown()
        server.server_close()
