"""Which agents an organ has: made by counting, moved in from other organs, or gone."""

from collections.abc import Iterable
from itertools import count, islice

from pydantic import BaseModel, ConfigDict, Field

from seedcore.organism.organs import OrganSpec


class Roster(BaseModel):
    """What counting alone does not tell.

    `extra` are agents that came from elsewhere (clones, other organs); they are the first to be wanted. `gone` are
    numbers of this organ's own that are never used again here: retired agents, and those that moved away.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    extra: list[str] = Field(default_factory=list)
    gone: list[str] = Field(default_factory=list)

    def agent_ids(self, organ: str, spec: OrganSpec) -> tuple[str, ...]:
        """The ids of the organ's agents, `spec.agents` of them: the same answer for the same desired state."""
        came = self.extra[: spec.agents]
        if not self.gone:
            return (*came, *(f"{organ}-{n:04d}" for n in range(spec.agents - len(came))))
        gone = set(self.gone)
        own = (agent for n in count() if (agent := f"{organ}-{n:04d}") not in gone)
        return (*came, *islice(own, spec.agents - len(came)))

    def without(self, agents: Iterable[str]) -> "Roster":
        """The same without `agents`, for good."""
        left = list(agents)
        drop, extra = set(left), set(self.extra)
        own = [agent for agent in left if agent not in extra and agent not in self.gone]
        return Roster(extra=[a for a in self.extra if a not in drop], gone=[*self.gone, *own])

    def joined_by(self, organ: str, agents: Iterable[str]) -> "Roster":
        """The same with `agents` from elsewhere; those of its own that come home are gone no more."""
        come = [agent for agent in agents if agent not in self.extra]
        home = {agent for agent in come if agent in set(self.gone)}
        return Roster(
            extra=[*self.extra, *(agent for agent in come if agent not in home)],
            gone=[agent for agent in self.gone if agent not in home],
        )
