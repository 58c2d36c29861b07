"""Runs a skill in a test the way a host does: JSON in, JSON out, both validated by the skill's models."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from seedcore.settings import get_settings
from seedcore.skills.context import SkillClients, SkillContext
from seedcore.skills.results import encode
from seedcore.skills.skill_decorator import MARK, AnyFunction, Kind, SkillSpec


class DictMemory:
    """An agent's memory in a dictionary; pass it to the next run to see what a skill remembers."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    async def get(self, key: str, default: object = None) -> Any:
        """The value, or `default` when there is none."""
        return self.values.get(key, default)

    async def set(self, key: str, value: object) -> None:
        """Keep a JSON value."""
        self.values[key] = value

    async def delete(self, key: str) -> bool:
        """Forget a key; True when there was one."""
        return self.values.pop(key, None) is not None


def run_skill(
    function: AnyFunction,
    params: Mapping[str, object],
    *,
    attempt: int = 1,
    memory: DictMemory | None = None,
    clients: SkillClients | None = None,
) -> dict[str, Any]:
    """Run a skill once and return its result as JSON. A skill with `process=True` runs in this process.

    Args:
        function: a function with the decorator `skill`.
        params: as a task has them.
        attempt: the number of the attempt that the skill sees.
        memory: the memory of its agent; an empty one when None.
        clients: its clients of services.

    Raises:
        TypeError: `function` is not a skill.
        ValidationError: the params do not fit the model.
        SkillError: a host would refuse the result.
    """
    spec = getattr(function, MARK, None)
    if not isinstance(spec, SkillSpec):
        raise TypeError(f"{function!r} is not a skill: put the decorator seedcore.skills.skill on it")
    return asyncio.run(_run(spec, params, attempt, memory or DictMemory(), clients))


async def _run(
    spec: SkillSpec, params: Mapping[str, object], attempt: int, memory: DictMemory, clients: SkillClients | None
) -> dict[str, Any]:
    validated = spec.params.model_validate(dict(params))
    in_process = spec.kind is Kind.PROCESS
    context = SkillContext(
        task_id="00000000-0000-7000-8000-000000000000",
        attempt=attempt,
        lease_token=attempt,
        idempotency_key="test",
        logger=logging.getLogger(spec.name),
        clients=None if in_process else clients,
        agent_id="test-0000",
        memory=None if in_process else memory,
        loop=asyncio.get_running_loop() if spec.kind is Kind.THREAD else None,
    )
    if spec.kind is Kind.ASYNC:
        result = await spec.function(validated, context)
    else:
        result = await asyncio.to_thread(spec.function, validated, context)
    # A host stores the text in PostgreSQL, so it must read back unchanged.
    text = encode(spec, result, get_settings().max_result_bytes)
    return spec.result.model_validate_json(text).model_dump(mode="json")
