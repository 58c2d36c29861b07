"""The fixed catalogue of questions to the graph: parameterised Cypher, each part bounded and of one tenant.

What belongs to a tenant carries its name; a node without one belongs to all. Every part sees both, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from seedcore.graph.graph_write import ENTITY


@dataclass(frozen=True, slots=True)
class GraphQuestion:
    """A question of the catalogue.

    Attributes:
        takes: the parameter that names what it is about.
        kind: of the node that it is about, as in its id.
        parts: Cypher by the part of the answer that it gives; parameters `id`, `tenant` and `limit`.
    """

    takes: str
    kind: str
    parts: Mapping[str, str]


def _visible(name: str) -> str:
    return f"({name}.tenant IS NULL OR {name}.tenant = $tenant)"


_IT = f"MATCH (it:{ENTITY} {{id: $id}})"
_LIMIT = "LIMIT $limit"

_BLAST_RADIUS = {
    "organs": f"{_IT}-[:RUNS_IN]->(o:{ENTITY}) RETURN o.name AS organ, o.agents AS agents ORDER BY organ {_LIMIT}",
    "agents": f"""{_IT}<-[r:ENDED]-(a:{ENTITY}) WHERE r.tenant = $tenant
WITH a.name AS agent, sum(r.n) AS tasks, sum(CASE WHEN r.code = '' THEN 0 ELSE r.n END) AS failed
RETURN agent, tasks, failed ORDER BY failed DESC, tasks DESC, agent {_LIMIT}""",
    "codes": f"""{_IT}<-[r:ENDED]-(:{ENTITY}) WHERE r.tenant = $tenant AND r.code <> ''
WITH r.code AS code, sum(r.n) AS tasks RETURN code, tasks ORDER BY tasks DESC, code {_LIMIT}""",
    "plans": f"""{_IT}<-[:USES]-(p:{ENTITY}) WHERE p.tenant = $tenant
RETURN p.id AS plan, p.type AS type, p.goal AS goal, p.status AS status, p.at AS at ORDER BY at DESC, plan {_LIMIT}""",
    "plans_above": f"""{_IT}<-[:USES]-(:{ENTITY})-[:PART_OF*1..3]->(p:{ENTITY}) WHERE p.tenant = $tenant
RETURN DISTINCT p.id AS plan, p.status AS status ORDER BY plan {_LIMIT}""",
    "skills_beside": f"""{_IT}<-[:USES]-(p:{ENTITY}) WHERE p.tenant = $tenant
MATCH (p)-[:USES]->(o:{ENTITY}) WHERE o.id <> $id
WITH o.name AS skill, count(p) AS plans RETURN skill, plans ORDER BY plans DESC, skill {_LIMIT}""",
    "dead_letters": f"""{_IT}<-[:DIED_AS]-(d:{ENTITY}) WHERE d.tenant = $tenant
RETURN d.id AS dead_letter, d.code AS code, d.at AS at ORDER BY at DESC, dead_letter {_LIMIT}""",
    "incidents": f"""{_IT}<-[:HAPPENED_ON]-(i:{ENTITY}) WHERE {_visible("i")}
RETURN i.id AS incident, i.kind AS kind, i.action AS action, i.stream AS stream, i.at AS at
ORDER BY at DESC, incident {_LIMIT}""",
}

_LINEAGE = {
    "versions": f"{_IT}<-[:VERSION_OF]-(v:{ENTITY}) RETURN v.version AS version ORDER BY version DESC {_LIMIT}",
    "champion": f"{_IT}-[r:CHAMPION_OF]->(v:{ENTITY}) RETURN v.version AS version, r.since AS since, r.by AS by",
    "candidate": f"{_IT}-[r:CANDIDATE_OF]->(v:{ENTITY}) RETURN v.version AS version, r.since AS since, r.by AS by",
    "promotions": f"""{_IT}<-[:VERSION_OF]-(c:{ENTITY})-[r:CHALLENGED]->(w:{ENTITY})
RETURN c.version AS candidate, w.version AS champion, r.status AS status, r.forced AS forced, r.opened_at AS opened_at,
r.decided_at AS decided_at ORDER BY opened_at DESC, candidate DESC {_LIMIT}""",
    "retrainings": f"""{_IT}<-[r:RETRAINED]-(i:{ENTITY}) WHERE {_visible("i")}
RETURN i.id AS incident, i.stream AS stream, r.task AS task, r.at AS at ORDER BY at DESC, incident {_LIMIT}""",
}

_WHO_ELSE = {
    "incident": f"""{_IT}
RETURN it.id AS incident, it.kind AS kind, it.stream AS stream, it.action AS action, it.at AS at""",
    "incidents": f"""{_IT}-[:HAPPENED_ON]->(x:{ENTITY})<-[:HAPPENED_ON]-(i:{ENTITY})
WHERE i.id <> $id AND {_visible("i")}
WITH i, count(x) AS shared RETURN i.id AS incident, i.kind AS kind, i.stream AS stream, i.action AS action,
i.status AS status, i.at AS at, shared ORDER BY shared DESC, at DESC, incident {_LIMIT}""",
    "agents": f"""{_IT}-[:HAPPENED_ON]->(:{ENTITY})<-[r:ENDED]-(a:{ENTITY}) WHERE r.tenant = $tenant AND r.code <> ''
WITH a.name AS agent, sum(r.n) AS failed RETURN agent, failed ORDER BY failed DESC, agent {_LIMIT}""",
    "plans": f"""{_IT}-[:HAPPENED_ON]->(:{ENTITY})<-[:USES]-(p:{ENTITY}) WHERE p.tenant = $tenant
RETURN DISTINCT p.id AS plan, p.goal AS goal, p.status AS status, p.at AS at ORDER BY at DESC, plan {_LIMIT}""",
    "dead_letters": f"""{_IT}-[:HAPPENED_ON]->(:{ENTITY})<-[:DIED_AS]-(d:{ENTITY}) WHERE d.tenant = $tenant
RETURN DISTINCT d.id AS dead_letter, d.code AS code, d.at AS at ORDER BY at DESC, dead_letter {_LIMIT}""",
    "retrained": f"{_IT}-[r:RETRAINED]->(m:{ENTITY}) RETURN m.name AS model, r.task AS task ORDER BY model {_LIMIT}",
}

_RELIED_ON = {
    "fact": f"""{_IT} RETURN it.subject AS subject, it.predicate AS predicate, it.object AS object,
it.valid_from AS valid_from, it.valid_to AS valid_to""",
    "plans": f"""{_IT}<-[r:RELIED_ON]-(p:{ENTITY}) WHERE p.tenant = $tenant
RETURN p.id AS plan, p.goal AS goal, p.status AS status, r.at AS at ORDER BY at DESC, plan {_LIMIT}""",
    "facts_about_it": f"""{_IT}-[:ABOUT]->(:{ENTITY})<-[:ABOUT]-(f:{ENTITY}) WHERE f.id <> $id AND f.tenant = $tenant
RETURN f.id AS fact, f.predicate AS predicate, f.object AS object, f.valid_to AS valid_to ORDER BY fact {_LIMIT}""",
}

_RECORD = {
    "agent": f"{_IT}-[:BELONGS_TO]->(o:{ENTITY}) RETURN it.lifecycle AS lifecycle, o.name AS organ",
    "skills": f"""{_IT}-[r:ENDED]->(s:{ENTITY}) WHERE r.tenant = $tenant
WITH s.name AS skill, sum(r.n) AS tasks, sum(CASE WHEN r.code = '' THEN 0 ELSE r.n END) AS failed,
sum(r.seconds) AS seconds RETURN skill, tasks, failed, seconds ORDER BY tasks DESC, skill {_LIMIT}""",
    "dead_letters": f"""{_IT}<-[:DIED_AT]-(d:{ENTITY}) WHERE d.tenant = $tenant
RETURN d.id AS dead_letter, d.type AS type, d.code AS code, d.at AS at ORDER BY at DESC, dead_letter {_LIMIT}""",
}

CATALOGUE: Mapping[str, GraphQuestion] = {
    "blast_radius": GraphQuestion("skill", "skill", _BLAST_RADIUS),
    "lineage": GraphQuestion("model", "model", _LINEAGE),
    "who_else": GraphQuestion("incident", "incident", _WHO_ELSE),
    "relied_on": GraphQuestion("fact", "fact", _RELIED_ON),
    "agent_record": GraphQuestion("agent", "agent", _RECORD),
}
"""By name; `neighbours` and `similar`, which take any node, are in `graph_reader`."""

EXISTS = f"{_IT} WHERE {_visible('it')} RETURN it.id AS id"

NEIGHBOURS = f"""
UNWIND $frontier AS origin MATCH (a:{ENTITY} {{id: origin}})-[r]-(b:{ENTITY})
WHERE {_visible("b")} AND (r.tenant IS NULL OR r.tenant = $tenant) AND NOT b.id IN $seen
WITH DISTINCT b RETURN b.id AS id, labels(b) AS labels, properties(b) AS properties ORDER BY id LIMIT $limit
"""

EDGES_AMONG = f"""
UNWIND $ids AS origin MATCH (a:{ENTITY} {{id: origin}})-[r]->(b:{ENTITY})
WHERE b.id IN $ids AND (r.tenant IS NULL OR r.tenant = $tenant)
RETURN a.id AS source, type(r) AS type, b.id AS target, properties(r) AS properties
ORDER BY source, type, target LIMIT $limit
"""

NODES = f"""
UNWIND $ids AS id MATCH (n:{ENTITY} {{id: id}}) WHERE {_visible("n")}
RETURN n.id AS id, labels(n) AS labels, properties(n) AS properties ORDER BY id
"""
