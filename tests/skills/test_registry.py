"""The registry: where skills come from, and what a task is told that names none of them."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from seedcore.errors import InvalidInputError, NotFoundError, SettingsError
from seedcore.settings import Settings, load_settings
from seedcore.skills import SkillContext, SkillRegistry, skill
from seedcore.skills import registry as module
from seedcore.skills.skill_decorator import MARK

HEAD = """
from pydantic import BaseModel
from seedcore.skills import SkillContext, skill

class Number(BaseModel):
    value: float
"""
DOUBLE = """
@skill("acme.double")
async def double(params: Number, context: SkillContext) -> Number:
    return Number(value=2 * params.value)
"""
Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that Python finds, and forget it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return make


def entry(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(module, "entry_points", lambda group: [p for p in points if p.group == group])


def loaded(skills: str = "") -> SkillRegistry:
    return SkillRegistry.load(load_settings(skills=skills))


def refused(skills: str = "") -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(skills)
    return caught.value.detail


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: float
    inner: list[int] = []

    @field_validator("value")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value < 0:
            raise ValueError("must not be negative")
        return value


@skill("acme.strict")
async def strict(params: Strict, context: SkillContext) -> Strict:
    return params


@pytest.fixture
def registry() -> SkillRegistry:
    return SkillRegistry([getattr(strict, MARK)])


def test_the_built_in_skills_are_always_there(settings: Settings):
    assert "echo" in SkillRegistry.load(settings)


def test_modules_of_the_setting_are_loaded_beside_the_built_in_ones(write: Write):
    write("acme_one", HEAD + DOUBLE)
    write("acme_two", HEAD + DOUBLE.replace("acme.double", "acme.other"))
    assert {"acme.double", "acme.other", "echo"} <= set(loaded("acme_one, acme_two"))


def test_a_skill_that_another_module_imports_is_one_skill(write: Write):
    write("acme_one", HEAD + DOUBLE)
    write("acme_all", "from acme_one import double\nfrom acme_one import double as again\n")
    assert "acme.double" in loaded("acme_one,acme_all,acme_one")


def test_an_unknown_module_is_a_settings_error_that_names_variable_and_module():
    told = refused("acme_nowhere")
    assert "SEEDCORE_SKILLS" in told
    assert "'acme_nowhere'" in told
    assert "ModuleNotFoundError" in told


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import nowhere_else\n", "nowhere_else"),
        (HEAD + "@skill('acme.x')\ndef x(params, context) -> Number: ...\n", "acme.x"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_the_reason(write: Write, source: str, reason: str):
    write("acme_broken", source)
    told = refused("acme_broken")
    assert "SEEDCORE_SKILLS: module 'acme_broken' cannot be imported" in told
    assert reason in told


def test_a_module_without_skills_is_refused(write: Write):
    write("acme_empty", "x = 1\n")
    assert "module 'acme_empty' defines no skill" in refused("acme_empty")


def test_two_skills_of_one_name_are_refused_and_both_named(write: Write):
    write("acme_one", HEAD + DOUBLE)
    write("acme_two", HEAD + DOUBLE)
    told = refused("acme_one,acme_two")
    for part in ("'acme.double'", "acme_one.double", "acme_two.double", "Rename"):
        assert part in told


def test_a_skill_may_not_take_the_name_of_a_built_in_one(write: Write):
    write("acme_echo", HEAD + DOUBLE.replace("acme.double", "echo"))
    assert "seedcore.skills.builtin.echo.echo" in refused("acme_echo")


@pytest.mark.parametrize("value", ["acme_point", "acme_point:double"])
def test_installed_packages_bring_skills_by_entry_point(write: Write, monkeypatch: pytest.MonkeyPatch, value: str):
    write("acme_point", HEAD + DOUBLE)
    entry(monkeypatch, EntryPoint("acme", value, "seedcore.skills"), EntryPoint("other", "nowhere", "another.group"))
    assert "acme.double" in loaded()


def test_a_broken_entry_point_is_named(monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, EntryPoint("acme", "acme_nowhere", "seedcore.skills"))
    assert "entry point 'acme' of seedcore.skills: module 'acme_nowhere' cannot be imported" in refused()


def test_entry_points_are_read_from_the_installed_packages():
    assert module.entry_points is importlib.metadata.entry_points


def test_entry_points_name_every_room_that_has_skills():
    """After a new `seedcore.ROOM.skills`, add its entry point to pyproject.toml and install SeedCore again."""
    points = importlib.metadata.entry_points(group="seedcore.skills")
    own = sorted(point.module for point in points if point.module.startswith("seedcore."))
    assert own == module.rooms_with_skills()
    assert "seedcore.ml.skills" in own


def test_skills_of_rooms_are_not_checked_as_modules_of_users(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, EntryPoint("ml", "seedcore.ml.skills", "seedcore.skills"))
    assert module.module_sources(settings) == []
    assert "ml.predict" in loaded()


def test_a_package_with_a_similar_name_is_a_users(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, EntryPoint("extra", "seedcore_extra.skills", "seedcore.skills"))
    assert [name for name, _ in module.module_sources(settings)] == ["seedcore_extra.skills"]


def test_without_installed_metadata_skills_of_rooms_are_found_by_their_place(monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch)
    assert "ml.predict" in loaded()


def test_skills_of_rooms_are_found_where_the_source_folder_is_only_on_the_path(tmp_path: Path):
    code = (
        "import importlib.metadata\n"
        "from seedcore.settings import load_settings\n"
        "from seedcore.skills import SkillRegistry\n"
        "assert not importlib.metadata.entry_points(group='seedcore.skills')\n"
        "print(*SkillRegistry.load(load_settings()))\n"
    )
    # Everything that is installed, but SeedCore's own metadata.
    (site,) = {Path(p) for p in sys.path if (Path(p) / "pydantic").is_dir()}
    for entry_ in site.iterdir():
        if not entry_.name.startswith("seedcore"):
            (tmp_path / entry_.name).symlink_to(entry_)
    source = Path(module.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": f"{source}:{tmp_path}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert {"echo", "ml.predict"} <= set(ended.stdout.split())


def test_a_room_whose_skills_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch):
    entry(monkeypatch, EntryPoint("lost", "seedcore.lost.skills", "seedcore.skills"))
    assert "SeedCore's own skills: module 'seedcore.lost.skills' cannot be imported" in refused()


def test_a_skill_is_found_by_name_and_the_known_ones_are_listed_otherwise(registry: SkillRegistry):
    assert registry.find("acme.strict").params is Strict
    with pytest.raises(NotFoundError, match=r"no skill 'acme.loose'. Known: acme.strict"):
        registry.find("acme.loose")


def test_an_unknown_type_is_named_as_such(registry: SkillRegistry):
    with pytest.raises(InvalidInputError) as caught:
        registry.check("acme.loose", {})
    assert [e.field for e in caught.value.errors] == ["type"]
    assert "acme.strict" in caught.value.detail


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({}, ["params.value"]),
        ({"value": "x"}, ["params.value"]),
        ({"value": -1}, ["params.value"]),
        ({"value": 1, "inner": [1, "x"]}, ["params.inner.1"]),
        ({"value": 1, "other": 2}, ["params.other"]),
        ({"inner": 5}, ["params.value", "params.inner"]),
        ([], ["params"]),
        (None, ["params"]),
    ],
)
def test_params_that_do_not_fit_are_named_by_field(registry: SkillRegistry, params: object, fields: list[str]):
    with pytest.raises(InvalidInputError) as caught:
        registry.check("acme.strict", params)
    assert [e.field for e in caught.value.errors] == fields
    assert "acme.strict" in caught.value.detail
    assert "Value error" not in caught.value.detail


def test_params_that_fit_pass(registry: SkillRegistry):
    registry.check("acme.strict", {"value": 1, "inner": [1, 2]})


def test_a_registry_is_a_mapping(registry: SkillRegistry):
    assert list(registry) == ["acme.strict"]
    assert len(registry) == 1
    assert registry["acme.strict"].name == "acme.strict"


def test_a_validator_that_raises_what_it_should_not_names_the_params():
    class Broken(BaseModel):
        value: int

        @field_validator("value")
        @classmethod
        def _look_up(cls, value: int) -> int:
            return {}[value]

    @skill("acme.broken")
    async def broken(params: Broken, context: SkillContext) -> Broken:
        return params

    with pytest.raises(InvalidInputError, match=r"'acme\.broken' cannot check them: it raised KeyError") as caught:
        SkillRegistry([getattr(broken, MARK)]).check("acme.broken", {"value": 1})
    assert [e.field for e in caught.value.errors] == ["params"]
