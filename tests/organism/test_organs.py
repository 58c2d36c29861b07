"""Organs as users write them, and the hosts that they ask for."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import SettingsError
from seedcore.organism.organs import OrganSpec, load_organs, plan_hosts
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


def test_a_users_file_takes_their_place(write):
    path = write("organs:\n  acme:\n    agents: 3\n    hosts: 2\n    num_gpus: 0.5\n    resources: {tpu: 1}\n")
    assert load_organs(load_settings(organs_path=path)) == {
        "acme": OrganSpec(agents=3, hosts=2, num_gpus=0.5, resources={"tpu": 1.0})
    }


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


# -- hosts -------------------------------------------------------------------------------------------------

SPECS = st.builds(OrganSpec, agents=st.integers(1, 60), hosts=st.integers(1, 12))
ORGANS = st.dictionaries(st.sampled_from(["utility", "ml", "graph"]), SPECS, max_size=3)


@given(ORGANS)
def test_agents_are_dealt_out_evenly_and_each_once(organs: dict[str, OrganSpec]):
    plans = plan_hosts(organs)
    for organ, spec in organs.items():
        own = [plan for plan in plans if plan.organ == organ]
        sizes = [len(plan.agent_ids) for plan in own]
        assert len(own) == min(spec.hosts, spec.agents)
        assert max(sizes) - min(sizes) <= 1
        assert Counter(i for plan in own for i in plan.agent_ids) == {f"{organ}-{n:04d}": 1 for n in range(spec.agents)}
        assert all(plan.spec is spec for plan in own)
    assert len({plan.name for plan in plans}) == len(plans)


@given(ORGANS)
def test_two_planners_agree_whatever_the_order_of_organs(organs: dict[str, OrganSpec]):
    other = dict(reversed(organs.items()))
    assert sorted(plan_hosts(organs), key=lambda p: p.name) == sorted(plan_hosts(other), key=lambda p: p.name)


@given(st.integers(1, 8), st.integers(1, 40), st.integers(1, 40))
def test_an_agent_keeps_its_host_while_only_the_number_of_agents_changes(hosts: int, before: int, after: int):
    def homes(agents: int) -> dict[str, str]:
        plans = plan_hosts({"a": OrganSpec(agents=max(agents, hosts), hosts=hosts)})
        return {agent: plan.name for plan in plans for agent in plan.agent_ids}

    old, new = homes(before), homes(after)
    assert {agent: old[agent] for agent in old.keys() & new.keys()} == {
        agent: new[agent] for agent in old.keys() & new.keys()
    }


def test_organs_with_similar_names_do_not_share_hosts_or_agents():
    plans = plan_hosts({"a": OrganSpec(agents=12, hosts=12), "a-1": OrganSpec(agents=2, hosts=2)})
    assert len({plan.name for plan in plans}) == 14
    agents = [agent for plan in plans for agent in plan.agent_ids]
    assert len(set(agents)) == len(agents)
