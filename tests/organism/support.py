"""What tests of the Organism service share."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from seedcore.organism.service import OrganismService

ORGANS = """
organs:
  utility: {agents: 4, isolation: process, hosts: 2}
  ml: {agents: 1, isolation: process}
"""
Start = Callable[..., Any]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def echo(value: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"organ_id": "utility", "task": {"type": "echo", "params": {"value": value}}, **fields}


def client(service: OrganismService) -> httpx.AsyncClient:
    """HTTP to a service in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")
