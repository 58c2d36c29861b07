"""Skills for bookkeeping. The entry point in pyproject.toml names this module."""

from acme_skills.match import match
from acme_skills.statement import statement
from acme_skills.total import total

__all__ = ["match", "statement", "total"]
