"""Agents by columns against a plain dictionary of them."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.fleet.agent_reads import AgentBatch
from seedcore.schemas.state import AgentState, OrganState
from seedcore.state.agent_columns import AgentColumns

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4)
RATES = st.sampled_from(["{}", '{"echo": {"weight": 2.0, "seconds": 1.0, "successes": 1.5}}'])
AGENTS = st.fixed_dictionaries(
    {
        "organ": NAMES,
        "host": NAMES,
        "running": st.integers(0, 2**31 - 1),
        "queued_s": st.floats(0, 1e9),
        "completed": st.integers(0, 2**53),
        "failed": st.integers(0, 2**53),
        "lifecycle": st.sampled_from(["scout", "employed"]),
        "rates": RATES,
        "roles": st.sampled_from([None, '{"critic": 0.5}']),
        "age_s": st.floats(0, 1e6),
        "change": st.integers(3, 2**62),
    }
)
PLAIN = ("organ", "host", "lifecycle", "running", "queued_s", "completed", "failed")
BATCHES = st.lists(st.dictionaries(NAMES, AGENTS, max_size=30), max_size=8)


def put(columns: AgentColumns, batch: dict[str, dict[str, Any]]) -> None:
    names = (
        "organ",
        "host",
        "running",
        "queued_s",
        "completed",
        "failed",
        "lifecycle",
        "rates",
        "roles",
        "age_s",
        "change",
    )
    columns.update(AgentBatch(id=list(batch), **{name: [agent[name] for agent in batch.values()] for name in names}))


@settings(deadline=None, max_examples=60)
@given(BATCHES)
def test_columns_hold_what_was_put_last(batches: list[dict[str, dict[str, Any]]]):
    columns, known = AgentColumns(), dict[str, dict[str, Any]]()
    for batch in batches:
        put(columns, batch)
        known |= batch
    found = orjson.loads(columns.encode(columns.choose()))
    assert list(found) == sorted(known)
    with_vectors = orjson.loads(columns.encode(columns.choose(), vectors=True))
    for agent_id, agent in with_vectors.items():
        assert agent.get("roles") == orjson.loads(known[agent_id]["roles"] or "null")
        assert "roles" not in found[agent_id]
    for agent_id, agent in found.items():
        AgentState.model_validate(agent, strict=True)
        expected = known[agent_id]
        assert {name: agent[name] for name in PLAIN} == {name: expected[name] for name in PLAIN}
        assert set(agent["rates"]) == set(orjson.loads(expected["rates"]))
        assert -0.001 <= agent["age_s"] - expected["age_s"] < 60
    sums = columns.sums()
    assert list(sums) == sorted({agent["organ"] for agent in known.values()})
    for organ, found_sums in sums.items():
        OrganState.model_validate(found_sums, strict=True)
        assert found_sums["agents"] == sum(agent["organ"] == organ for agent in known.values())
        assert found_sums["running"] == sum(a["running"] for a in known.values() if a["organ"] == organ)


@settings(deadline=None, max_examples=60)
@given(BATCHES, st.randoms(use_true_random=False))
def test_the_fingerprint_is_of_the_content_and_not_of_the_way_to_it(batches: list[dict[str, Any]], random: Any):
    one, other, known = AgentColumns(), AgentColumns(), dict[str, Any]()
    for batch in batches:
        put(one, batch)
        known |= batch
    shuffled = list(known)
    random.shuffle(shuffled)
    for agent_id in shuffled:
        put(other, {agent_id: known[agent_id]})
    assert one.fingerprint(one.choose()) == other.fingerprint(other.choose())
    if known:
        changed = shuffled[0]
        put(other, {changed: {**known[changed], "change": known[changed]["change"] + 1}})
        assert one.fingerprint(one.choose()) != other.fingerprint(other.choose())


def test_who_lives_nowhere_is_told_of_no_more_and_counts_for_nothing():
    columns = AgentColumns()
    agent = {
        "organ": "o",
        "host": "h",
        "lifecycle": "scout",
        "running": 1,
        "queued_s": 0.5,
        "completed": 1,
        "failed": 0,
    }
    agent |= {"rates": "{}", "roles": None, "age_s": 0.0, "change": 5}
    put(columns, {"a": agent, "b": agent})
    put(columns, {"a": {**agent, "host": "", "change": 6}})
    assert list(orjson.loads(columns.encode(columns.choose()))) == ["b"]
    assert columns.choose(["a"]).size == 0
    assert columns.sums()["o"]["agents"] == columns.sums()["o"]["running"] == 1
    put(columns, {"a": {**agent, "change": 7}})
    assert list(orjson.loads(columns.encode(columns.choose()))) == ["a", "b"]


def test_a_hundred_thousand_agents_fit():
    columns = AgentColumns()
    agent = {"organ": "o", "host": "h", "running": 1, "queued_s": 0.5, "completed": 1, "failed": 0}
    put(
        columns,
        {
            f"a-{n}": {**agent, "lifecycle": "scout", "rates": "{}", "roles": None, "age_s": 0.0, "change": n}
            for n in range(100_000)
        },
    )
    assert len(columns) == 100_000
    assert columns.sums()["o"]["queued_s"] == 50_000.0
    assert columns["change"][-1] == 99_999
