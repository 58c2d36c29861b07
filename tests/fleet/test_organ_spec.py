"""Organs as users write them, and the hosts that they ask for."""

from pathlib import Path

import pytest

from seedcore.errors import InvalidInputError, SettingsError
from seedcore.fleet.host_limits import HostLimits
from seedcore.fleet.organ_spec import HostRange, OrganSpec, load_organs, organ_of_skills
from seedcore.settings import Settings, load_settings
from seedcore.skills import SkillRegistry


def refused(path: Path) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_organs(load_settings(organs_path=path))
    assert f"SEEDCORE_ORGANS_PATH={path}" in caught.value.detail
    return caught.value


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str) -> Path:
        path = tmp_path / "organs.yaml"
        path.write_text(text)
        return path

    return make


def test_the_packages_organs_hold_every_built_in_skill(settings: Settings):
    organs = load_organs(settings)
    assert {spec.organ for spec in SkillRegistry.load(settings).values()} <= set(organs)


def test_a_users_file_is_added_to_them(write):
    path = write("organs:\n  acme:\n    agents: 3\n    hosts: 2\n    num_gpus: 0.5\n    resources: {tpu: 1}\n")
    assert load_organs(load_settings(organs_path=path)) == {
        **load_organs(load_settings()),
        "acme": OrganSpec(agents=3, hosts=HostRange(min=2, max=2), num_gpus=0.5, resources={"tpu": 1.0}),
    }


def test_of_an_organ_in_both_the_users_takes_the_whole_place(write):
    path = write("organs:\n  utility: {agents: 2, domains: [acme]}\n")
    organs = load_organs(load_settings(organs_path=path))
    assert organs == {**load_organs(load_settings()), "utility": OrganSpec(agents=2, domains=["acme"])}


@pytest.mark.parametrize("own", ["isolation: process", "num_cpus: 1", "num_gpus: 0.1", "resources: {tpu: 1}"])
def test_hosts_are_for_organs_with_isolation_or_resources(write, own: str):
    assert load_organs(load_settings(organs_path=write(f"organs: {{a: {{hosts: 3, {own}}}}}")))["a"].own_hosts
    assert load_organs(load_settings(organs_path=write(f"organs: {{a: {{{own}}}}}")))["a"].hosts.min == 1


@pytest.mark.parametrize("nothing", ["agents: 4", "num_cpus: 0", "resources: {tpu: 0}", "isolation: shared"])
def test_hosts_of_an_organ_whose_agents_live_in_workers_are_refused_and_the_fix_is_told(write, nothing: str):
    error = refused(write(f"organs: {{a: {{hosts: 2, {nothing}}}, b: {{agents: 1}}}}"))
    assert [item.field for item in error.errors] == ["organs.a.hosts"]
    assert "`isolation: process` or resources, or drop `hosts`" in error.detail
    assert not load_organs(load_settings(organs_path=write(f"organs: {{a: {{{nothing}}}}}")))["a"].own_hosts


def test_a_missing_file_is_named(tmp_path: Path):
    assert "No such file" in refused(tmp_path / "nowhere.yaml").detail


def test_a_folder_is_no_file(tmp_path: Path):
    assert "directory" in refused(tmp_path).detail


@pytest.mark.parametrize("text", ["", "---\n", "# nothing but words\n", "null\n"])
def test_an_empty_file_is_told_as_empty(write, text: str):
    assert "is empty" in refused(write(text)).detail


@pytest.mark.parametrize("text", ["organs: [\n", "a: b: c\n", "\tx", "organs: *nowhere\n", "\x07"])
def test_what_is_no_yaml_is_told_as_such(write, text: str):
    assert "is not YAML" in refused(write(text)).detail


def test_what_is_no_text_is_told_as_such(tmp_path: Path):
    path = tmp_path / "organs.yaml"
    path.write_bytes(b"\xff\xfe\x00organs")
    assert "UTF-8" in refused(path).detail


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("5", ""),
        ("[a]", ""),
        ("organs: {}", "organs"),
        ("organs:", "organs"),
        ("organ: {}", "organs"),
        ("organs: {a: {agents: 0}}", "organs.a.agents"),
        ("organs: {a: {agents: many}}", "organs.a.agents"),
        ("organs: {a: {hosts: 1001}}", "organs.a.hosts"),
        ("organs: {a: {hosts: {min: 3, max: 2}}}", "organs.a.hosts"),
        ("organs: {a: {hosts: {min: 1}}}", "organs.a.hosts.max"),
        ("organs: {a: {skills: [echo, echo]}}", "organs.a.skills"),
        ("organs: {a: {roles: {lead: 0}}}", "organs.a.roles.lead"),
        ("organs: {a: {limits: {agents: 1}}}", "organs.a.limits.agents"),
        ("organs: {a: {num_cpus: -1}}", "organs.a.num_cpus"),
        ("organs: {a: {num_cpus: .inf}}", "organs.a.num_cpus"),
        ("organs: {a: {resources: {tpu: -1}}}", "organs.a.resources.tpu"),
        ("organs: {a: {agent: 1}}", "organs.a.agent"),
        ("organs: {a: }", "organs.a"),
        ("organs: {Bad Name: {}}", "organs.Bad Name"),
        ("organs: {1: {}}", "organs.1"),
    ],
)
def test_a_wrong_field_is_named(write, text: str, field: str):
    error = refused(write(text))
    assert any(item.field.startswith(field) for item in error.errors), error.errors
    assert field in error.detail


def test_a_repeated_organ_is_refused_not_half_forgotten(write):
    error = refused(write("organs:\n  a: {agents: 1}\n  a: {agents: 2}\n"))
    assert "'a'" in error.detail


def test_a_number_of_hosts_is_a_range_of_one():
    assert OrganSpec.model_validate({"hosts": 3}).hosts == HostRange(min=3, max=3)
    assert OrganSpec.model_validate({"hosts": {"min": 1, "max": 4}}).hosts.max == 4


def test_hosts_without_agents_are_not_wanted():
    few = OrganSpec(agents=2, hosts=HostRange(min=3, max=5))
    assert (few.min_hosts, few.max_hosts) == (2, 2)


def test_a_spec_survives_json():
    limits, hosts = HostLimits(host_concurrency=8), HostRange(min=1, max=4)
    spec = OrganSpec(agents=7, isolation="process", hosts=hosts, skills=["echo"], limits=limits)
    assert OrganSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_what_the_previous_release_stored_loads_and_its_hosts_mean_nothing():
    stored = {"agents": 7, "hosts": {"min": 2, "max": 4}, "num_cpus": 0.0}
    spec = OrganSpec.model_validate(stored)
    assert (spec.agents, spec.own_hosts) == (7, False)
    assert not {"hosts", "isolation"} & spec.model_dump(mode="json").keys(), "and it can read what is stored now"


def test_the_schema_of_a_spec_names_its_fields_both_ways():
    for mode in ("validation", "serialization"):
        assert {"agents", "isolation", "hosts"} <= OrganSpec.model_json_schema(mode=mode)["properties"].keys()


DECLARED = {"echo": "utility", "text.shout": "utility", "ml.predict": "ml"}


def test_a_skill_runs_where_an_organ_lists_it_else_where_it_says_itself():
    organs = {"utility": OrganSpec(), "loud": OrganSpec(skills=["text.shout"])}
    assert organ_of_skills(organs, DECLARED) == {**DECLARED, "text.shout": "loud"}


def test_skills_that_nobody_knows_and_double_claims_are_all_named():
    organs = {"a": OrganSpec(skills=["echo", "nope"], domains=["d"]), "b": OrganSpec(skills=["echo"], domains=["d"])}
    with pytest.raises(InvalidInputError) as caught:
        organ_of_skills(organs, DECLARED)
    assert [e.field for e in caught.value.errors] == ["organs.a.skills", "organs.b.skills", "organs.b.domains"]
    assert "'nope'" in caught.value.detail
