"""Finding skills: built in, named by SEEDCORE_SKILLS, and installed under the entry-point group `seedcore.skills`."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from seedcore.errors import FieldError, InvalidInputError, NotFoundError, SettingsError, wrong_fields
from seedcore.settings import Settings
from seedcore.skills.sdk import MARK, SkillSpec

ENTRY_POINT_GROUP = "seedcore.skills"
OWN_MODULES = "seedcore."
"""Entry points of SeedCore's own rooms name modules under this package."""


class SkillRegistry(Mapping[str, SkillSpec]):
    """All skills that this process can run, by name."""

    def __init__(self, specs: Iterable[SkillSpec]) -> None:
        self._specs: dict[str, SkillSpec] = {}
        for spec in specs:
            other = self._specs.setdefault(spec.name, spec)
            if other.function is not spec.function:
                raise SettingsError(
                    f"Two skills are called {spec.name!r}: {_where(other)} and {_where(spec)}. Rename one of them."
                )

    @classmethod
    def load(cls, settings: Settings) -> "SkillRegistry":
        """Import every module that may define skills.

        Raises:
            SettingsError: a module cannot be imported, defines no skill, or two skills share a name.
        """
        specs = list(_builtin())
        for name, source in module_sources(settings):
            specs += from_module(name, source)
        return cls(specs)

    def __getitem__(self, name: str) -> SkillSpec:
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def find(self, name: str) -> SkillSpec:
        """The skill `name`.

        Raises:
            NotFoundError: there is none; the detail lists those there are.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise NotFoundError(f"There is no skill {name!r}. Known: {', '.join(sorted(self._specs))}.")
        return spec

    def check(self, name: str, params: Any) -> SkillSpec:
        """Hold a task's type and params against the skill, before the task is stored; returns the skill.

        Raises:
            InvalidInputError: names `type` when no skill has that name, or the params' fields that do not fit.
        """
        spec = self._specs.get(name)
        if spec is None:
            message = f"no skill {name!r}; known: {', '.join(sorted(self._specs))}, and goal"
            raise InvalidInputError(message, errors=[FieldError("type", message)])
        try:
            spec.params.model_validate(params)
        except ValidationError as error:
            wrong = wrong_fields(error.errors(include_url=False, include_input=False), "params")
            detail = f"params do not fit the skill {name!r}: " + "; ".join(f"{e.field}: {e.message}" for e in wrong[:5])
            raise InvalidInputError(detail, errors=wrong) from None
        except Exception as error:
            # A validator of the skill's may raise anything.
            message = f"the model of the skill {name!r} cannot check them: it raised {type(error).__name__}"
            raise InvalidInputError.for_field("params", message) from error
        return spec


def _where(spec: SkillSpec) -> str:
    return f"{spec.function.__module__}.{getattr(spec.function, '__qualname__', spec.name)}"


def _builtin() -> Iterator[SkillSpec]:
    package = importlib.import_module("seedcore.skills.builtin")
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        yield from specs_of(importlib.import_module(info.name))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.module.startswith(OWN_MODULES):
            yield from specs_of(importlib.import_module(point.module))


def module_sources(settings: Settings) -> list[tuple[str, str]]:
    """Modules of users that may define skills, each with where it is named."""
    named = [(name, "SEEDCORE_SKILLS") for name in settings.skill_modules]
    points = [p for p in entry_points(group=ENTRY_POINT_GROUP) if not p.module.startswith(OWN_MODULES)]
    return named + [(point.module, f"entry point {point.name!r} of {ENTRY_POINT_GROUP}") for point in points]


def from_module(name: str, source: str) -> list[SkillSpec]:
    """The skills of a module.

    Raises:
        SettingsError: it cannot be imported, or defines no skill.
    """
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise SettingsError(
            f"{source}: module {name!r} cannot be imported ({type(error).__name__}: {error})."
        ) from error
    found = list(specs_of(module))
    if not found:
        raise SettingsError(f"{source}: module {name!r} defines no skill (see the decorator seedcore.skills.skill).")
    return found


def specs_of(module: ModuleType) -> Iterator[SkillSpec]:
    """The skills among a module's attributes."""
    for value in vars(module).values():
        spec = getattr(value, MARK, None)
        if isinstance(spec, SkillSpec):
            yield spec
