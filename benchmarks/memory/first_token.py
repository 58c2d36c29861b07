"""`python -m benchmarks.memory.first_token [--calls N] [--tokens N]`: what the facade adds to a first token.

A server of OpenAI's protocol streams an answer. It is asked in turns without a step between and through `/ml/v1` of a
whole SeedCore (HAProxy, Ray Serve, the budget in PostgreSQL); time counts from the request to the first event. With
`--alone` the ML service's application answers in a process of its own, without Ray Serve and HAProxy.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from benchmarks.system import ROOT, System, free_port

MODEL = "tokens-1"
BODY = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "count"}]}


def upstream(tokens: int) -> FastAPI:
    """A server that streams `tokens` tokens without a pause."""
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "bench"}]}

    @app.post("/v1/chat/completions")
    async def chat() -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    async def events() -> AsyncIterator[bytes]:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
        for n in range(tokens):
            choice = {"index": 0, "delta": {"content": f"{n} "}, "finish_reason": None}
            yield b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"
        used = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        yield b"data: " + json.dumps({**head, "choices": [], "usage": used}).encode() + b"\n\ndata: [DONE]\n\n"

    return app


@contextlib.contextmanager
def served(port: int, tokens: int) -> Iterator[str]:
    """The upstream in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory.first_token", "--serve", str(port), "--tokens", str(tokens)]
    process = subprocess.Popen(command, cwd=ROOT)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(200):
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"{url}/models").raise_for_status()
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def facade_alone(upstream_url: str) -> Iterator[str]:
    """The ML service's application with an embedded PostgreSQL; its base URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="scf") as folder:
        given = {"SEEDCORE_DATA_DIR": folder, "LLM_PROVIDER": "mlservice", "LLM_MODEL": MODEL}
        environment = {**os.environ, **given, "LLM_UPSTREAM_URL": upstream_url}
        subprocess.run([sys.executable, "-m", "seedcore.cli.main", "migrate"], env=environment, check=True, timeout=300)
        command = [sys.executable, "-m", "benchmarks.memory.first_token", "--facade", str(port)]
        process = subprocess.Popen(command, env=environment, cwd=ROOT)
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"{url}/v1/models", timeout=60).raise_for_status()
                    break
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def serve_facade(port: int) -> None:
    """Serve the ML service's application in this process."""
    import uvicorn

    from seedcore.ml.service import MLService

    app = MLService({}, background=False).build_app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", loop="uvloop")


async def first_event(client: httpx.AsyncClient, url: str) -> tuple[float, float]:
    """Milliseconds to the first event, and to the end."""
    began = time.perf_counter()
    first = None
    async with client.stream("POST", f"{url}/chat/completions", json=BODY) as answer:
        answer.raise_for_status()
        async for part in answer.aiter_raw():
            if first is None and b"data:" in part:
                first = time.perf_counter()
    assert first is not None
    return (first - began) * 1000, (time.perf_counter() - began) * 1000


async def compare(direct: str, facade: str, calls: int) -> dict[str, Any]:
    """Medians and 99th percentiles of both, in turns."""
    found: dict[str, list[tuple[float, float]]] = {"direct": [], "facade": []}
    async with httpx.AsyncClient(timeout=60) as client:
        for n in range(calls + 20):
            for name, url in (("direct", direct), ("facade", facade)):
                taken = await first_event(client, url)
                if n >= 20:
                    found[name].append(taken)
    figures: dict[str, Any] = {"calls": calls}
    for name, taken in found.items():
        firsts = sorted(first for first, _ in taken)
        figures[name] = {
            "first_p50_ms": round(statistics.median(firsts), 2),
            "first_p99_ms": round(firsts[int(len(firsts) * 0.99)], 2),
            "end_p50_ms": round(statistics.median(end for _, end in taken), 2),
        }
    figures["added_p50_ms"] = round(figures["facade"]["first_p50_ms"] - figures["direct"]["first_p50_ms"], 2)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.first_token", description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--serve", type=int, help="serve the upstream on this port")
    parser.add_argument("--alone", action="store_true", help="without Ray Serve and HAProxy")
    parser.add_argument("--facade", type=int, help="serve the facade on this port")
    given = parser.parse_args()
    if given.facade is not None:
        serve_facade(given.facade)
        return
    if given.serve is not None:
        import uvicorn

        uvicorn.run(upstream(given.tokens), host="127.0.0.1", port=given.serve, log_level="warning")
        return
    if given.alone:
        with served(free_port(), given.tokens) as url, facade_alone(url) as facade:
            print(json.dumps(asyncio.run(compare(url, f"{facade}/v1", given.calls)), indent=1))
        return
    with (
        served(free_port(), given.tokens) as url,
        System(LLM_PROVIDER="mlservice", LLM_UPSTREAM_URL=url, LLM_MODEL=MODEL, RAY_AUTH_MODE="token") as system,
    ):
        system.wait_healthy()
        print(json.dumps(asyncio.run(compare(url, f"{system.url}/ml/v1", given.calls)), indent=1))


if __name__ == "__main__":
    main()
