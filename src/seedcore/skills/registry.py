"""Finds skills: built-in ones, modules that SEEDCORE_SKILLS names, and entry points of the group `seedcore.skills`."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from types import ModuleType

from seedcore.errors import InvalidInputError, NotFoundError, SettingsError
from seedcore.settings import Settings
from seedcore.skills.params_validation import validate_params
from seedcore.skills.skill_decorator import MARK, SkillSpec

ENTRY_POINT_GROUP = "seedcore.skills"
ROOT_PACKAGE = "seedcore"
"""Entry points to modules below this package are SeedCore's own."""


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
        specs = list(_own_specs())
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
            NotFoundError: there is none; the detail lists the known skills.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise NotFoundError(f"There is no skill {name!r}. Known: {', '.join(sorted(self._specs))}.")
        return spec

    def check(self, name: str, params: object) -> SkillSpec:
        """Validate a task's type and params before the task is stored; returns the skill.

        Raises:
            InvalidInputError: names `type` when no skill has that name, or the params' fields that do not fit.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise InvalidInputError.for_field(
                "type", f"no skill {name!r}; known: {', '.join(sorted(self._specs))}, and goal"
            )
        validate_params(spec, params)
        return spec


def _where(spec: SkillSpec) -> str:
    return f"{spec.function.__module__}.{getattr(spec.function, '__qualname__', spec.name)}"


def _own_specs() -> Iterator[SkillSpec]:
    package = importlib.import_module(f"{ROOT_PACKAGE}.skills.builtin")
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        yield from specs_of(importlib.import_module(info.name))
    for name in own_modules():
        yield from from_module(name, "SeedCore's own skills")


def own_modules() -> list[str]:
    """The modules with skills in SeedCore's own rooms, by their entry points.

    Without installed metadata (the source folder is only on the path, or was installed before a room had skills), they
    are found by their place, `seedcore.ROOM.skills`.
    """
    named = {point.module for point in entry_points(group=ENTRY_POINT_GROUP) if _is_own(point.module)}
    return sorted(named) or rooms_with_skills()


def rooms_with_skills() -> list[str]:
    """The modules `seedcore.ROOM.skills` that exist, in order."""
    root = importlib.import_module(ROOT_PACKAGE)
    rooms = [info.name for info in pkgutil.iter_modules(root.__path__, f"{ROOT_PACKAGE}.") if info.ispkg]
    return [f"{room}.skills" for room in rooms if importlib.util.find_spec(f"{room}.skills") is not None]


def _is_own(module: str) -> bool:
    return module.startswith(f"{ROOT_PACKAGE}.")


def module_sources(settings: Settings) -> list[tuple[str, str]]:
    """Modules of users that may define skills, each with the place that names it."""
    named = [(name, "SEEDCORE_SKILLS") for name in settings.skill_modules]
    points = [point for point in entry_points(group=ENTRY_POINT_GROUP) if not _is_own(point.module)]
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
