"""The organs file: a validated YAML that declares organs, their agents, hosts and limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self, cast

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from seedcore.errors import FieldError, InvalidInputError, SettingsError, wrong_fields
from seedcore.fleet.host_limits import HostLimits
from seedcore.settings import Settings
from seedcore.skills.skill_decorator import ORGAN
from seedcore.utils.yaml_files import read_yaml

OrganId = Annotated[str, Field(pattern=f"^{ORGAN.pattern}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

HOSTS_REFUSED = "agents of this organ live in workers; give it `isolation: process` or resources, or drop `hosts`"


class HostRange(BaseModel):
    """How many hosts an organ has: at least `min`, at most `max`, as many as the measured load needs between them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int = Field(ge=1, le=1000)
    max: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) must be at least min ({self.min})")
        return self


class OrganSpec(BaseModel):
    """The desired state of an organ: a named pool of agents with the same skills.

    Its agents live in workers, unless it reserves resources or asks for processes of its own: then it has hosts. What
    the previous release stored always has `hosts`; that loads, and means nothing for an organ without hosts of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field("", max_length=2000)
    skills: list[Name] = Field(
        default_factory=list, max_length=10_000, description="skills that run here, whatever organ they name themselves"
    )
    domains: list[Name] = Field(default_factory=list, max_length=10_000, description="domains that this organ serves")
    agents: int = Field(4, ge=1, le=100_000, description="desired agents")
    isolation: Literal["shared", "process"] = Field(
        "shared", description="`process`: it has hosts of its own; `shared`: only when it reserves resources"
    )
    queue: Literal["default", "graph"] = Field(
        "default", description="the queue whose workers its agents live in, of an organ without hosts of its own"
    )
    hosts: HostRange = Field(
        HostRange(min=1, max=1),
        description="hosts that they are spread over, of an organ with hosts of its own: a number or a range",
    )
    num_cpus: float = Field(0.0, ge=0, le=1024, allow_inf_nan=False, description="CPUs that Ray reserves for each host")
    num_gpus: float = Field(0.0, ge=0, le=64, allow_inf_nan=False, description="GPUs that Ray reserves for each host")
    resources: dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, max_length=100, description="custom Ray resources of each host"
    )
    roles: dict[Name, Weight] = Field(default_factory=dict, max_length=100, description="roles and their weights")
    limits: HostLimits = HostLimits()

    @field_validator("hosts", mode="before")
    @classmethod
    def _number_is_range(cls, value: object) -> object:
        return {"min": value, "max": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("skills", "domains")
    @classmethod
    def _unique(cls, value: list[str]) -> list[str]:
        twice = sorted({name for name in value if value.count(name) > 1}) if len(set(value)) < len(value) else []
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice")
        return value

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """`hosts` only where there are any; `isolation` and `queue` only where the previous release could not do what
        they say."""
        content: dict[str, object] = handler(self)
        if not self.own_hosts:
            content.pop("hosts", None)
        if self.isolation == "shared":
            content.pop("isolation", None)
        if self.queue == "default":
            content.pop("queue", None)
        return content

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the fields: what the serializer returns is not known to be more than an object."""
        without = {name: value for name, value in core_schema.items() if name != "serialization"}
        return handler(cast(CoreSchema, without))

    @property
    def own_hosts(self) -> bool:
        """Whether it has hosts of its own; else its agents live in workers."""
        return self.isolation == "process" or self.num_cpus > 0 or self.num_gpus > 0 or any(self.resources.values())

    @property
    def hosts_refused(self) -> bool:
        """Whether `hosts` was given, and the organ has none of its own. Only of what a user has just sent: what is
        stored was accepted once."""
        return "hosts" in self.model_fields_set and not self.own_hosts

    @property
    def min_hosts(self) -> int:
        """Fewest hosts; never more than agents, as a host without agents has nothing to do."""
        return min(self.hosts.min, self.agents)

    @property
    def max_hosts(self) -> int:
        """Most hosts; never more than agents."""
        return min(self.hosts.max, self.agents)


class OrgansFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    organs: dict[OrganId, OrganSpec] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host to create. The routing table says which agents live on it; they are activated on first use."""

    name: str
    organ: str
    spec: OrganSpec


def load_organs(settings: Settings) -> dict[str, OrganSpec]:
    """Read the organs in the package, and SEEDCORE_ORGANS_PATH over them: of an organ in both, the user's counts whole.

    Raises:
        SettingsError: the file is missing, empty or invalid; the detail names file and field.
    """
    organs = _read_organs(_default(), "the package's default_organs.yaml")
    path = settings.organs_path
    return organs | _read_organs(path, str(path)) if path else organs


def _read_organs(path: Path, source: str) -> dict[str, OrganSpec]:
    try:
        return parse_organs(read_yaml(path.read_text("utf-8")), source)
    except OSError as error:
        raise SettingsError(f"SEEDCORE_ORGANS_PATH={source}: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"SEEDCORE_ORGANS_PATH={source} is not UTF-8 text: {error.reason}.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"SEEDCORE_ORGANS_PATH={source} is not YAML: {error}.") from None


def parse_organs(document: object, source: str) -> dict[str, OrganSpec]:
    """Validate the content of an organs file.

    Raises:
        SettingsError: names the field and what is allowed.
    """
    if document is None:
        raise SettingsError(f"SEEDCORE_ORGANS_PATH={source} is empty; it needs at least one organ under `organs:`.")
    try:
        organs = dict(OrgansFile.model_validate(document).organs)
    except ValidationError as error:
        raise _wrong_file(source, wrong_fields(error.errors(include_url=False))) from None
    refused = [FieldError(f"organs.{name}.hosts", HOSTS_REFUSED) for name, spec in organs.items() if spec.hosts_refused]
    if refused:
        raise _wrong_file(source, refused)
    return organs


def _wrong_file(source: str, wrong: list[FieldError]) -> SettingsError:
    detail = "; ".join(f"{e.field}: {e.message}" for e in wrong)
    return SettingsError(f"SEEDCORE_ORGANS_PATH={source}: {detail}.", errors=wrong)


def organ_of_skills(organs: Mapping[str, OrganSpec], declared: Mapping[str, str]) -> dict[str, str]:
    """The organ that runs each skill: the one that lists it, else the one that the skill itself declares.

    Args:
        organs: the desired organs.
        declared: the organ that each known skill declares.

    Raises:
        InvalidInputError: an organ lists an unknown skill, or two organs claim the same skill or domain.
    """
    wrong: list[FieldError] = []
    placed: dict[str, str] = {}
    domains: dict[str, str] = {}
    for organ, spec in organs.items():
        for name in spec.skills:
            if name not in declared:
                wrong.append(FieldError(f"organs.{organ}.skills", f"unknown skill {name!r}"))
            elif placed.setdefault(name, organ) != organ:
                wrong.append(
                    FieldError(f"organs.{organ}.skills", f"organ {placed[name]!r} also lists the skill {name!r}")
                )
        for name in spec.domains:
            if domains.setdefault(name, organ) != organ:
                other = domains[name]
                wrong.append(FieldError(f"organs.{organ}.domains", f"organ {other!r} also lists the domain {name!r}"))
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    return {**declared, **placed}


def _default() -> Path:
    return Path(str(files("seedcore.fleet") / "default_organs.yaml"))
