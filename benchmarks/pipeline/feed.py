"""The client: one that costs little, and the event feed that tells when tasks ended."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import aiohttp
import orjson

DEADLINE_S = 300


def light_client(url: str) -> aiohttp.ClientSession:
    """A client that costs little: it runs on the processors that it measures (httpx took 8 ms a task there)."""
    connector = aiohttp.TCPConnector(limit=200)
    return aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(60), read_bufsize=2**20)


class Feed:
    """When each completion was seen on the event feed."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self._seen: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Feed":
        query = [("event", "completed"), ("event", "failed")]
        request = self._client.get("/api/v1/events", params=query, timeout=aiohttp.ClientTimeout(None))
        answer = await self._stack.enter_async_context(request)
        answer.raise_for_status()
        self._reader = asyncio.create_task(self._read(answer.content))
        await asyncio.sleep(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._stack.aclose()

    async def _read(self, lines: AsyncIterator[bytes]) -> None:
        try:
            async for line in lines:
                if line.startswith(b"data: "):
                    self._note(orjson.loads(line[6:])["task_ids"], time.perf_counter())
        finally:
            for waiting in self._waiting.values():
                waiting.cancel("the event feed has ended")

    def _note(self, task_ids: list[str], now: float) -> None:
        for task_id in task_ids:
            if (waiting := self._waiting.pop(task_id, None)) is None:
                self._seen[task_id] = now
            elif not waiting.done():
                waiting.set_result(now)

    async def ended(self, task_id: str) -> float:
        """When the end of that task was seen.

        Raises:
            TimeoutError: not within DEADLINE_S.
            ConnectionError: the feed has ended.
        """
        if task_id in self._seen:
            return self._seen.pop(task_id)
        if self._reader.done():
            raise ConnectionError("the event feed has ended")
        self._waiting[task_id] = waiting = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(DEADLINE_S):
            done, _ = await asyncio.wait([waiting])
        if waiting in done and waiting.cancelled():
            raise ConnectionError("the event feed has ended")
        return waiting.result()
