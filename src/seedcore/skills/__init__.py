"""The skill SDK, the registry and the built-in skills."""

from seedcore.errors import SkillError
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.sdk import RetryPolicy, SkillContext, SkillSpec, skill

__all__ = ["RetryPolicy", "SkillContext", "SkillError", "SkillRegistry", "SkillSpec", "skill"]
