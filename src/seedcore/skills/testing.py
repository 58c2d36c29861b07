"""Running a skill in a test, the way a host does: JSON in, JSON out, and everything held against the models."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from seedcore.settings import get_settings
from seedcore.skills.context import SkillClients, SkillContext
from seedcore.skills.results import encode
from seedcore.skills.sdk import MARK, Kind, SkillSpec


class KeptMemory:
    """An agent's memory in a dictionary; hand it to the next run to see what a skill remembers."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` when there is none."""
        return self.values.get(key, default)

    async def set(self, key: str, value: Any) -> None:
        """Keep a JSON value."""
        self.values[key] = value

    async def delete(self, key: str) -> bool:
        """Forget a key; True when there was one."""
        return self.values.pop(key, None) is not None


def run_skill(
    function: Callable[..., Any],
    params: Mapping[str, Any],
    *,
    attempt: int = 1,
    memory: KeptMemory | None = None,
    clients: SkillClients | None = None,
) -> dict[str, Any]:
    """Run a skill once and return its result as JSON. A skill with `process=True` runs in this process.

    Args:
        function: what the decorator `skill` was put on.
        params: as a task would hold them.
        attempt: number of the attempt that the skill sees.
        memory: what its agent remembers; an empty one when left out.
        clients: what it calls other services with; none when left out.

    Raises:
        TypeError: `function` is no skill.
        ValidationError: the params do not fit its model.
        SkillError: the result is one that a host refuses.
    """
    spec = getattr(function, MARK, None)
    if not isinstance(spec, SkillSpec):
        raise TypeError(f"{function!r} is no skill: put the decorator seedcore.skills.skill on it")
    return asyncio.run(_run(spec, params, attempt, memory or KeptMemory(), clients))


async def _run(
    spec: SkillSpec, params: Mapping[str, Any], attempt: int, memory: KeptMemory, clients: SkillClients | None
) -> dict[str, Any]:
    given = spec.params.model_validate(dict(params))
    alone = spec.kind is Kind.PROCESS
    context = SkillContext(
        task_id="00000000-0000-7000-8000-000000000000",
        attempt=attempt,
        lease_token=attempt,
        idempotency_key="test",
        logger=logging.getLogger(spec.name),
        clients=None if alone else clients,
        agent_id="test-0000",
        memory=None if alone else memory,
        loop=asyncio.get_running_loop() if spec.kind is Kind.THREAD else None,
    )
    if spec.kind is Kind.ASYNC:
        result = await spec.function(given, context)
    else:
        result = await asyncio.to_thread(spec.function, given, context)
    # A host gives the text to PostgreSQL; what does not come back as it went would surprise its readers.
    text = encode(spec, result, get_settings().max_result_bytes)
    return spec.result.model_validate_json(text).model_dump(mode="json")
