"""Long-term memory, as skills see it."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RecalledMemory(Protocol):
    """A memory that was found: its text is data, whatever it says."""

    @property
    def text(self) -> str:
        """What is remembered."""

    @property
    def score(self) -> float:
        """By which they are sorted, the best first."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to filter by."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """What was stored with it."""


class SkillRecall(Protocol):
    """Long-term memory, as `context.remember` and `context.recall` use it."""

    async def remember(
        self,
        text: str,
        tenant: str,
        scope: str,
        tags: Sequence[str],
        metadata: Mapping[str, object],
        salience: float,
        source_id: str,
    ) -> str:
        """Store a text; its id."""

    async def recall(
        self, query: str, k: int, tenant: str, scopes: Sequence[str], tags: Sequence[str]
    ) -> Sequence[RecalledMemory]:
        """The texts that fit best."""
