"""Organs as the user writes them: a validated YAML, and what it asks for."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seedcore.errors import SettingsError, wrong_fields
from seedcore.settings import Settings
from seedcore.skills.sdk import ORGAN

OrganId = Annotated[str, Field(pattern=f"^{ORGAN.pattern}$")]


class OrganSpec(BaseModel):
    """A named pool of agents with the same skills."""

    model_config = ConfigDict(extra="forbid")

    description: str = ""
    agents: int = Field(4, ge=1, le=100_000, description="desired agents")
    hosts: int = Field(1, ge=1, le=1000, description="hosts that they are spread over")
    num_cpus: float = Field(0.0, ge=0, le=1024, description="CPUs that Ray reserves for each host")
    num_gpus: float = Field(0.0, ge=0, le=64, description="GPUs that Ray reserves for each host")
    resources: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="custom Ray resources of each host"
    )


class OrgansFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    organs: dict[OrganId, OrganSpec] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host that ought to be there."""

    name: str
    organ: str
    agent_ids: tuple[str, ...]
    spec: OrganSpec


class _UniqueKeys(yaml.SafeLoader):
    """YAML forbids a key to come twice; the library would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, when no key comes twice in it."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} comes twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_organs(settings: Settings) -> dict[str, OrganSpec]:
    """Read SEEDCORE_ORGANS_PATH, or the organs in the package.

    Raises:
        SettingsError: the file is missing, empty or wrong; the detail names file and field.
    """
    path = settings.organs_path
    source = str(path) if path else "the package's default_organs.yaml"
    try:
        text = path.read_text("utf-8") if path else _default().read_text("utf-8")
        return parse_organs(yaml.load(text, _UniqueKeys), source)  # noqa: S506 - a SafeLoader
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
        return dict(OrgansFile.model_validate(document).organs)
    except ValidationError as error:
        wrong = wrong_fields(error.errors(include_url=False))
        detail = "; ".join(f"{e.field}: {e.message}" for e in wrong)
        raise SettingsError(f"SEEDCORE_ORGANS_PATH={source}: {detail}.", errors=wrong) from None


def plan_hosts(organs: dict[str, OrganSpec]) -> list[HostPlan]:
    """The hosts that `organs` ask for, agents dealt out evenly; names are stable, so that two makers agree."""
    plans: list[HostPlan] = []
    for organ, spec in organs.items():
        ids = [f"{organ}-{n:04d}" for n in range(spec.agents)]
        count = min(spec.hosts, spec.agents)
        plans += [HostPlan(f"seedcore-host-{organ}-{n}", organ, tuple(ids[n::count]), spec) for n in range(count)]
    return plans


def _default() -> Path:
    return Path(str(files("seedcore.organism") / "default_organs.yaml"))
