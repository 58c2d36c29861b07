"""The skill SDK, the registry and the built-in skills."""

from seedcore.errors import SkillError
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.sdk import SkillContext, SkillSpec, skill

__all__ = ["SkillContext", "SkillError", "SkillRegistry", "SkillSpec", "skill"]
