"""The skills that a dispatcher knows, loaded when they are first needed, and how their failed attempts are retried."""

import asyncio

from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import RetryPolicy
from seedcore.tasks.retry import backoff_s


class SkillCatalog:
    """A registry that is loaded once, outside the event loop: most dispatchers never need it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry: SkillRegistry | None = None
        self._lock = asyncio.Lock()

    async def registry(self) -> SkillRegistry:
        """All skills.

        Raises:
            SettingsError: a module of skills cannot be imported.
        """
        async with self._lock:
            if self._registry is None:
                self._registry = await asyncio.to_thread(SkillRegistry.load, self._settings)
            return self._registry


def longest_pause_s(policy: RetryPolicy, attempt: int, settings: Settings) -> float:
    """The longest pause after `attempt` by a skill's own policy; what it leaves open is SeedCore's default."""
    return backoff_s(attempt, policy.base_s or settings.retry_base_s, policy.max_s or settings.retry_max_s)
