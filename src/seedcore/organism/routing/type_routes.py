"""Type routes: which organ runs a task type or serves a domain; computed once an epoch, then looked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from seedcore.errors import NotFoundError
from seedcore.organism.desired.desired_state import Organ


@dataclass(frozen=True, slots=True)
class TypeRoutes:
    """The organ of each skill and of each domain, as of one epoch."""

    epoch: int
    skills: Mapping[str, str]
    domains: Mapping[str, str]
    organs: frozenset[str]

    @classmethod
    def of(cls, epoch: int, skills: Mapping[str, str], organs: Mapping[str, Organ]) -> "TypeRoutes":
        """The routes that the desired organs make."""
        domains = {domain: name for name, organ in organs.items() for domain in organ.spec.domains}
        return cls(epoch, skills, domains, frozenset(organs))

    def resolve(self, task_type: str | None, domain: str | None) -> tuple[str, Literal["type", "domain"]]:
        """The organ, and what it was found by. Only the organ of a type can run it, so a known type wins over a domain.

        Raises:
            NotFoundError: no organ runs the type or serves the domain; the detail lists what is known.
        """
        organ = self.skills.get(task_type) if task_type is not None else None
        if organ is not None:
            if organ not in self.organs:
                raise NotFoundError(
                    f"The skill {task_type!r} names the organ {organ!r}, which does not exist: declare it."
                )
            return organ, "type"
        if domain is not None and domain in self.domains:
            return self.domains[domain], "domain"
        missing = [f"skill {task_type!r}"] if task_type is not None else []
        missing += [f"domain {domain!r}"] if domain is not None else []
        known = ", ".join(sorted(self.skills)) or "none"
        served = ", ".join(sorted(self.domains)) or "none"
        raise NotFoundError(f"No organ has {' or '.join(missing)}. Skills: {known}. Domains: {served}.")
