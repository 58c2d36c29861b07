"""Event streams: their format, their heartbeat, and their end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seedcore.web.sse import EventStream, encode_stream
from tests.web.application import make_app, raw


async def encoded(*items: dict[str, Any], **options: Any) -> str:
    async def events() -> AsyncIterator[dict[str, Any]]:
        for item in items:
            yield item

    return b"".join([chunk async for chunk in encode_stream(events(), **options)]).decode()


async def test_an_event_has_id_event_and_json_data():
    text = await encoded({"id": 7, "event": "progress", "data": {"n": 1, "ü": None}})
    assert text == 'id: 7\nevent: progress\ndata: {"n":1,"ü":null}\n\n'


async def test_data_of_several_lines_stays_one_event():
    text = await encoded({"id": 1, "event": "progress", "data": '{\n"a":\r\n1\r,"b":"\u2028"}'})
    assert text == 'id: 1\nevent: progress\ndata: {\ndata: "a":\ndata: 1\ndata: ,"b":"\u2028"}\n\n'


async def test_a_quiet_stream_is_kept_alive_and_loses_nothing():
    async def events() -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(0.1)
        yield {"id": 1, "event": "progress", "data": {}}

    chunks = [chunk async for chunk in encode_stream(events(), heartbeat_s=0.02)]
    assert chunks[0] == b": ping\n\n"
    assert chunks[-1] == b"id: 1\nevent: progress\ndata: {}\n\n"


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("waiting", [True, False], ids=["while the source waits", "while bytes are sent"])
async def test_a_client_that_leaves_closes_the_source(spec_version: str, waiting: bool):
    closed = asyncio.Event()

    async def events() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"id": 1, "event": "progress", "data": {}}
            await asyncio.sleep(30 if waiting else 0)
            yield {"id": 2, "event": "progress", "data": {}}
        finally:
            closed.set()

    app = make_app()

    @app.get("/follow")
    async def follow() -> EventStream:
        return EventStream(events(), heartbeat_s=0.05)

    async with asyncio.timeout(20):
        await raw(app, "/follow", leave_after=1, spec_version=spec_version)
        await closed.wait()


async def test_closing_the_encoder_closes_the_source_at_once():
    closed = False

    async def events() -> AsyncIterator[dict[str, Any]]:
        nonlocal closed
        try:
            while True:
                yield {"id": 1, "event": "progress", "data": {}}
        finally:
            closed = True

    stream = encode_stream(events())
    await anext(stream)
    await stream.aclose()
    assert closed
