"""The terms under which the agents of one organ work: its limits and its roles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from seedcore.fleet.host_limits import HostLimits


@dataclass(frozen=True, slots=True)
class OrganTerms:
    """An organ's own limits, and the weight of each role that it declares."""

    limits: HostLimits = field(default_factory=HostLimits)
    roles: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, limits: Mapping[str, object] | None = None, roles: Mapping[str, float] | None = None) -> Self:
        """The terms that a routing table gives; limits that only a later release knows are left out.

        Raises:
            pydantic.ValidationError: a limit that this release knows is out of its bounds.
        """
        known = {name: value for name, value in (limits or {}).items() if name in HostLimits.model_fields}
        return cls(HostLimits.model_validate(known), dict(roles or {}))
