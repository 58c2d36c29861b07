"""The skill SDK, the registry of skills and the built-in skills."""

from seedcore.errors import SkillError
from seedcore.skills.context import SkillContext, SkillMemory
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import Kind, RetryPolicy, SkillSpec, skill

__all__ = [
    "Kind",
    "RetryPolicy",
    "SkillContext",
    "SkillError",
    "SkillMemory",
    "SkillRegistry",
    "SkillSpec",
    "skill",
]
