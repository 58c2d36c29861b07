"""The roster of an organ: agents that are numbered by counting, that moved in from other organs, or that left."""

from collections.abc import Iterable
from itertools import count, islice

from pydantic import BaseModel, ConfigDict, Field

from seedcore.fleet.organ_spec import OrganSpec


class Roster(BaseModel):
    """What counting alone does not say.

    `extra` are agents that came from elsewhere (clones, other organs); they come before the counted ones. `gone` are
    those that are never counted here again: retired agents, and those that moved away.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    extra: list[str] = Field(default_factory=list)
    gone: list[str] = Field(default_factory=list)

    def agent_ids(self, organ: str, spec: OrganSpec) -> tuple[str, ...]:
        """The ids of the organ's agents, `spec.agents` of them: the same answer for the same desired state."""
        came = self.extra[: spec.agents]
        if not self.gone and not came:
            return tuple(f"{organ}-{n:04d}" for n in range(spec.agents))
        taken = {*self.gone, *self.extra}
        own = (agent for n in count() if (agent := f"{organ}-{n:04d}") not in taken)
        return (*came, *islice(own, spec.agents - len(came)))

    def without(self, agents: Iterable[str]) -> "Roster":
        """This roster without `agents`, for good."""
        drop = dict.fromkeys(agents)
        known = set(self.gone)
        return Roster(
            extra=[agent for agent in self.extra if agent not in drop],
            gone=[*self.gone, *(agent for agent in drop if agent not in known)],
        )

    def joined_by(self, agents: Iterable[str]) -> "Roster":
        """This roster with `agents` from elsewhere, before all others."""
        come = dict.fromkeys(agents)
        return Roster(
            extra=[*come, *(agent for agent in self.extra if agent not in come)],
            gone=[agent for agent in self.gone if agent not in come],
        )
