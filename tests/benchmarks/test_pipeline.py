"""The whole path's figures: what is measured stands beside what is wanted, and a broken system ends no measurement."""

import asyncio
import time

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from benchmarks.pipeline.__main__ import PARTS, _parts
from benchmarks.pipeline.feed import Feed, light_client
from benchmarks.pipeline.figures import compare, percentile
from benchmarks.pipeline.singles import Load, submit_singly


def test_each_figure_that_was_measured_stands_beside_what_is_wanted():
    rows = compare(
        {"singles": {"100": {"p50_ms": 9.0, "p99_ms": 50.0}}, "drain": {"ratio": 2.0, "drain_per_s": 15_000}}
    )
    told = {row["what"]: (row["measured"], row["met"], row["aim_met"]) for row in rows}
    assert told == {
        "singles at 100/s, p50": (9.0, True, False),
        "singles at 100/s, p99": (50.0, False, None),
        "drain, times PgQueuer's": (2.0, True, None),
        "drain": (15_000, None, False),
    }


def test_without_pgqueuer_there_is_no_ratio_to_hold_against_anything():
    assert [row["what"] for row in compare({"drain": {"ratio": None, "drain_per_s": 1}})] == ["drain"]


def test_parts_run_in_their_order_whatever_the_order_they_are_named_in():
    assert _parts("drain,demo") == ("demo", "drain")
    assert _parts(",".join(PARTS)) == PARTS


def test_percentiles_of_few_values():
    assert percentile([3.0], 99) == 3.0
    assert percentile([], 50) != percentile([], 50)
    assert Load([0.001] * 10).as_json()["p99_ms"] == 1.0


class Server:
    """A gateway whose tasks end after `seconds`; every `refuses`-th submit is refused, and the feed may break off."""

    def __init__(self, seconds: float, refuses: int = 0, feed_s: float = 60.0) -> None:
        self._seconds, self._refuses, self._feed_s = seconds, refuses, feed_s
        self._count = 0
        self._ended: asyncio.Queue[str] = asyncio.Queue()

    async def post(self, _request: web.Request) -> web.Response:
        self._count += 1
        if self._refuses and self._count % self._refuses == 0:
            return web.Response(status=429)
        task_id = f"t-{self._count}"
        asyncio.get_running_loop().call_later(self._seconds, self._ended.put_nowait, task_id)
        return web.json_response({"id": task_id}, status=201)

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        deadline = time.monotonic() + self._feed_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                task_id = await asyncio.wait_for(self._ended.get(), left)
            except TimeoutError:
                break
            await response.write(f'event: completed\ndata: {{"task_ids": ["{task_id}"]}}\n\n'.encode())
        return response

    async def measured(self, rate: float, seconds: float) -> Load:
        application = web.Application()
        application.add_routes([web.post("/api/v1/tasks", self.post), web.get("/api/v1/events", self.events)])
        async with TestServer(application) as server, light_client(str(server.make_url("/"))) as client:
            assert isinstance(client, ClientSession)
            async with Feed(client) as feed:
                return await submit_singly(client, feed, rate, seconds)


@pytest.mark.integration
async def test_a_single_submit_is_timed_from_when_it_was_due_to_its_end_on_the_feed():
    load = await Server(0.2).measured(rate=50, seconds=0.4)
    assert len(load.seconds) == 20
    assert 0.2 <= min(load.seconds) <= max(load.seconds) < 1.0
    assert not load.refused


@pytest.mark.integration
async def test_refused_submits_are_counted_and_end_no_measurement():
    load = await Server(0.01, refuses=4).measured(rate=50, seconds=0.4)
    assert len(load.seconds) == 15
    assert load.refused == {"HTTP 429": 5}


@pytest.mark.integration
async def test_tasks_whose_end_nobody_can_tell_any_more_are_counted():
    load = await Server(30.0, feed_s=1.5).measured(rate=50, seconds=0.2)
    assert load.seconds == []
    assert load.refused == {"ConnectionError": 10}
