"""The skills of the graph over real servers: what they answer, to whom, and what they refuse."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from seedcore.errors import SkillError
from seedcore.graph import graph_client, skills
from seedcore.graph.graph_client import GraphClient
from seedcore.graph.graph_sync import GraphSync
from seedcore.memory.intake.memory_texts import failure_memory
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import Settings
from seedcore.skills.context import SkillContext
from seedcore.stores.postgres import Database

DEAD = UUID("01a22d08-1919-747e-a93b-7bffb3996d16")
TRIAGE = UUID("01a22d08-1919-747e-a93b-7bffb3996d17")
FACT = UUID("01a22d08-1919-747e-a93b-7bffb3996d18")
PLAN = UUID("01a22d08-1919-747e-a93b-7bffb3996d19")

STATEMENTS = (
    "insert into seedcore.skills (name, slow, platform, organ) values ('echo', false, false, 'utility'), "
    "('hash', false, false, 'utility')",
    "insert into seedcore.organs (id, spec) values ('utility', '{\"agents\": 4}')",
    "insert into seedcore.agents (id, organ, host) values ('utility-0001', 'utility', 'h')",
    "insert into seedcore.model_aliases (name, alias, version) values ('churn', 'champion', 2)",
    "insert into seedcore.promotions (name, champion, candidate, status) values ('churn', 1, 2, 'promoted')",
    f"insert into seedcore.triages (id, hash, stream, dry_run, action, status, record) "
    f"values ('{TRIAGE}', 'x', 'shop/echo', false, 'hold', 'done', '{{}}'), "
    f"(gen_random_uuid(), 'y', 'bank/echo', false, 'retrain', 'done', '{{}}')",
    f"insert into seedcore.facts (id, tenant, subject, predicate, object, text) "
    f"values ('{FACT}', 'acme', 'echo', 'is', 'slow at noon', 'echo is slow at noon')",
    f"insert into seedcore.tasks (id, type, params, max_attempts, tenant) values "
    f"('{PLAN}', 'goal', '{{\"goal\": \"say it\"}}', 1, 'acme'), ('{DEAD}', 'echo', '{{}}', 1, 'acme')",
    f"insert into seedcore.held (id, status, plan) values ('{PLAN}', 'waiting', "
    f'\'{{"steps": [{{"id": "a", "skill": "echo"}}, {{"id": "b", "skill": "hash"}}], "output": {{}}}}\')',
    f"insert into seedcore.fact_uses (fact_id, task_id) values ('{FACT}', '{PLAN}')",
    f"insert into seedcore.dead (id, tick, attempts, error_code, decision) "
    f"values ('{DEAD}', 1, 1, 'timeout', '{{\"agent\": \"utility-0001\"}}')",
)
SUMS = [
    {"tenant": tenant, "type": "echo", "agent": "utility-0001", "code": code, "n": n, "seconds": 1.0}
    for tenant, code, n in (("acme", "", 90), ("acme", "timeout", 10), ("beta", "", 7))
]

pytestmark = pytest.mark.integration


class Asker:
    """Runs the skills of the graph."""

    def __init__(self, clients: SkillServiceClients) -> None:
        self.clients = clients

    def _context(self, tenant: str) -> SkillContext:
        return SkillContext("t", 1, 1, "k", None, clients=self.clients, tenant=tenant)

    async def query(self, tenant: str = "acme", **params: object) -> dict[str, Any]:
        answer = await skills.graph_query(skills.GraphQuery.model_validate(params), self._context(tenant))
        return answer.found

    async def run(self, function: Any, params: Any, tenant: str = "acme") -> Any:
        return await function(params, self._context(tenant))


@pytest.fixture
async def asker(graph_settings: Settings, database: Database, sync: GraphSync) -> AsyncIterator[Asker]:
    async with database.connection() as connection:
        for statement in STATEMENTS:
            await connection.execute(statement)
        await connection.execute("select seedcore.graph_ended($1::jsonb)", json.dumps(SUMS))
    sync.start()
    clients = SkillServiceClients(graph_settings)
    yield Asker(clients)
    await clients.aclose()


async def test_the_blast_radius_of_a_failing_skill_is_its_agents_plans_and_what_stands_beside_it(asker: Asker) -> None:
    found = await asker.query(query="blast_radius", skill="echo")
    assert found["organs"] == [{"organ": "utility", "agents": 4}]
    assert found["agents"] == [{"agent": "utility-0001", "tasks": 100, "failed": 10}]
    assert found["codes"] == [{"code": "timeout", "tasks": 10}]
    assert [(p["plan"], p["goal"], p["status"]) for p in found["plans"]] == [(f"plan:{PLAN}", "say it", "waiting")]
    assert found["skills_beside"] == [{"skill": "hash", "plans": 1}]
    assert [d["dead_letter"] for d in found["dead_letters"]] == [f"dead:{DEAD}"]
    other = await asker.query("beta", query="blast_radius", skill="echo")
    assert other["agents"] == [{"agent": "utility-0001", "tasks": 7, "failed": 0}]
    assert not any(other[part] for part in ("plans", "dead_letters", "codes", "incidents", "skills_beside"))


async def test_a_model_has_a_lineage_and_an_incident_those_who_saw_it_too(asker: Asker) -> None:
    found = await asker.query(query="lineage", model="churn")
    assert [v["version"] for v in found["versions"]] == [2, 1]
    assert found["champion"][0]["version"] == 2
    assert [(p["candidate"], p["champion"], p["status"]) for p in found["promotions"]] == [(2, 1, "promoted")]
    seen = await asker.query("default", query="who_else", incident=str(TRIAGE))
    assert [(i["stream"], i["action"]) for i in seen["incidents"]] == [("bank/echo", "retrain")]
    assert seen["incident"][0]["action"] == "hold"
    with pytest.raises(SkillError, match="does not know"):
        await asker.query("acme", query="who_else", incident=str(TRIAGE))


async def test_a_fact_knows_the_plans_that_relied_on_it_and_another_tenant_does_not(asker: Asker) -> None:
    found = await asker.query(query="relied_on", fact=str(FACT))
    assert [(p["plan"], p["status"]) for p in found["plans"]] == [(f"plan:{PLAN}", "waiting")]
    with pytest.raises(SkillError, match="does not know") as refused:
        await asker.query("beta", query="relied_on", fact=str(FACT))
    assert (refused.value.extra["cause"], refused.value.transient) == ("not_found", False)


async def test_neighbours_are_the_nearest_first_and_only_what_the_tenant_may_see(asker: Asker) -> None:
    found = await asker.query(query="neighbours", node="skill:echo", depth=2, limit=40)
    depths = {node["id"]: node["depth"] for node in found["nodes"]}
    assert (depths["skill:echo"], depths[f"plan:{PLAN}"], depths[f"fact:{FACT}"]) == (0, 1, 2)
    assert {"source": f"plan:{PLAN}", "type": "USES", "target": "skill:echo"} in found["edges"]
    other = await asker.query("beta", query="neighbours", node="skill:echo", depth=3, limit=40)
    assert not any(node["id"].startswith(("plan:", "fact:", "dead:", "incident:")) for node in other["nodes"])
    assert "tenant" not in json.dumps(found)


async def test_vectors_find_nodes_of_a_like_place(asker: Asker, database: Database) -> None:
    context = SkillContext("t", 1, 1, "k", None, clients=asker.clients)
    done = await skills.graph_embed(skills.EmbedGraph(dimension=32), context)
    assert done.nodes > 10
    assert (done.dimension, done.model) == (32, "fastrp")
    found = await asker.query(query="similar", node="skill:hash", limit=5)
    assert len(found["nodes"]) == 5
    assert all(-1 <= node["similarity"] <= 1 for node in found["nodes"])
    other = await asker.query("beta", query="similar", node="skill:hash", limit=50)
    assert not any(node["node"].startswith(("plan:", "fact:")) for node in other["nodes"])
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from seedcore.graph_vectors") == done.nodes


async def test_no_word_of_a_tenant_names_a_node_that_others_see(asker: Asker, database: Database) -> None:
    own = [{"tenant": "acme", "type": "acme.own-word", "agent": "utility-0001", "code": "", "n": 1, "seconds": 1.0}]
    async with database.connection() as connection:
        await connection.execute("select seedcore.graph_ended($1::jsonb)", json.dumps(own))
    context = SkillContext("t", 1, 1, "k", None, clients=asker.clients)
    await skills.graph_embed(skills.EmbedGraph(dimension=32), context)
    seen = [
        await asker.query("beta", query="similar", node="skill:hash", limit=100),
        await asker.query("beta", query="neighbours", node="skill:echo", depth=3, limit=100),
        await asker.query("beta", query="neighbours", node="agent:utility-0001", depth=3, limit=100),
    ]
    assert not any(word in json.dumps(seen) for word in ("acme", "shop", "bank"))
    for node in ("stream:shop/echo", "stream:bank/echo"):
        with pytest.raises(SkillError, match="does not know"):
            await asker.query("beta", query="neighbours", node=node)
    found = await asker.query("default", query="who_else", incident=str(TRIAGE))
    assert [incident["stream"] for incident in found["incidents"]] == ["bank/echo"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "query"),
        ({"query": "drop"}, "query"),
        ({"query": "blast_radius"}, "skill"),
        ({"query": "blast_radius", "skill": ""}, "skill"),
        ({"query": "blast_radius", "skill": "a\0"}, "skill"),
        ({"query": "blast_radius", "skill": "x" * 257}, "skill"),
        ({"query": "blast_radius", "skill": ["a"]}, "skill"),
        ({"query": "blast_radius", "skill": "a", "model": "b"}, "model"),
        ({"query": "neighbours", "node": "a", "depth": 4}, "depth"),
        ({"query": "neighbours", "node": "a", "depth": 10**400}, "depth"),
        ({"query": "neighbours", "node": "a", "limit": 0}, "limit"),
        ({"query": "neighbours", "node": "a", "limit": float("nan")}, "limit"),
        ({"query": "neighbours", "node": "a", "cypher": "MATCH (n) RETURN n"}, "cypher"),
    ],
)
def test_odd_questions_are_refused_by_field(params: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        skills.GraphQuery.model_validate(params)
    assert refused.value.errors()[0]["loc"] == (field,)


async def test_memories_are_seeds_that_the_graph_goes_on_from(asker: Asker, database: Database) -> None:
    memory = MemoryStore(database, None)
    text = "the plan to say it failed at noon because echo was slow"
    await memory.remember([NewMemory(text, tenant="acme", source="plan", source_id=str(PLAN))])
    await memory.remember([NewMemory("echo was slow for others", tenant="beta")])
    found = await asker.run(skills.graph_rag, skills.AskGraph(query="why was echo slow at noon", depth=1))
    assert [(m.text, m.node) for m in found.memories] == [(text, f"plan:{PLAN}")]
    scores = {node.id: node.score for node in found.nodes}
    assert scores[f"plan:{PLAN}"] == 1.0
    assert scores["skill:echo"] == scores[f"fact:{FACT}"] == 0.5
    nothing = await asker.run(skills.graph_rag, skills.AskGraph(query="zzz"), "gamma")
    assert (nothing.memories, nothing.nodes, nothing.edges) == ([], [], [])


async def test_the_memory_of_a_kind_of_failure_leads_to_its_skill(asker: Asker) -> None:
    payload = {"tenant": "acme", "type": "echo", "code": "timeout", "message": "it waited for the lamp"}
    await asker.clients.recall.store.remember([failure_memory("acme echo timeout", payload)])
    found = await asker.run(skills.graph_rag, skills.AskGraph(query="waited for the lamp", depth=1))
    assert found.memories[0].node == "skill:echo"
    assert "skill:echo" in [node.id for node in found.nodes]


async def test_names_are_data_whatever_they_contain(asker: Asker) -> None:
    for name in ("'}) DETACH DELETE n //", "echo' OR 1=1", "a`b", "$id", "é" * 200):
        with pytest.raises(SkillError, match="does not know"):
            await asker.query(query="blast_radius", skill=name)
    assert (await asker.query(query="blast_radius", skill="echo"))["organs"]


async def test_a_full_sync_reads_the_tables_again(asker: Asker, database: Database) -> None:
    await asker.run(skills.graph_sync, skills.SyncGraph())
    async with database.connection() as connection:
        await connection.execute("alter table seedcore.agents disable trigger user")
        await connection.execute("insert into seedcore.agents (id, organ, host) values ('late', 'utility', 'h')")
    with pytest.raises(SkillError, match="does not know"):
        await asker.query(query="agent_record", agent="late")
    done = await asker.run(skills.graph_sync, skills.SyncGraph(full=True))
    assert (done.pending, done.lag_s) == (0, 0)
    asker.clients.keep(GraphClient)._state = None
    assert (await asker.query(query="agent_record", agent="late"))["agent"][0]["organ"] == "utility"


async def test_questions_do_not_each_wait_for_the_sync(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    await asker.query(query="blast_radius", skill="echo")
    waited: list[float] = []
    monkeypatch.setattr(graph_client, "wait_until_synced", lambda *_: waited.append(1.0))
    await asker.query(query="blast_radius", skill="echo")
    assert waited == []
    assert asker.clients.keep(GraphClient).status()["asked"] == 2


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"query": "blast_radius"}, "skill"),
        ({"query": "blast_radius", "skill": "echo", "model": "m"}, "model"),
        ({"query": "lineage", "skill": "echo"}, "skill"),
        ({"query": "drop", "skill": "echo"}, "query"),
        ({"query": "blast_radius", "skill": ""}, "skill"),
        ({"query": "blast_radius", "skill": "a\0b"}, "skill"),
        ({"query": "blast_radius", "skill": "x" * 257}, "skill"),
        ({"query": "blast_radius", "skill": "echo", "limit": 0}, "limit"),
        ({"query": "neighbours", "node": "skill:echo", "depth": 4}, "depth"),
        ({"query": "neighbours", "node": "skill:echo", "cypher": "MATCH (n) DETACH DELETE n"}, "cypher"),
    ],
)
def test_params_that_do_not_fit_a_question_name_the_field(params: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        skills.GraphQuery.model_validate(params)
    assert field in {error["loc"][0] for error in refused.value.errors()}
