"""Turns rows of the outbox and sums of ended tasks into what is to be written to the graph. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seedcore.graph.graph_write import EdgeRow, GraphWrite, NodeRow, Properties, Value

SEPARATOR = "\x1f"
MAX_TEXT = 200
"""Characters of a text that the graph keeps: it is for finding; the whole text is in PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the outbox.

    Attributes:
        seq: its place; of two changes of one thing the later one has the higher.
        kind: what changed, such as `agent`.
        key: which one.
        payload: what is known of it now.
    """

    seq: int
    kind: str
    key: str
    payload: Any


@dataclass(frozen=True, slots=True)
class EndedSum:
    """How many tasks of a tenant and type ended at an agent with a code ("" completed), and their seconds from claim to
    end, since the beginning."""

    tenant: str
    type: str
    agent: str
    code: str
    n: int
    seconds: float


def node_id(kind: str, *parts: object) -> str:
    """The id of a node, such as `skill:echo`."""
    return f"{kind}:{':'.join(str(part)[:MAX_TEXT] for part in parts)}"


def write_of(changes: Iterable[Change], sums: Iterable[EndedSum] = ()) -> GraphWrite:
    """What is to be written for these changes, in the order of `seq`, and for these sums, which only ever grow.

    A kind that this release does not know, which a newer one wrote, is left out.
    """
    write = GraphWrite()
    for change in sorted(changes, key=lambda c: c.seq):
        if (take := _TAKERS.get(change.kind)) is not None:
            take(write, change)
    for ended in sums:
        skill = _stub(write, "Skill", "skill", ended.type)
        source = _stub(write, "Agent", "agent", ended.agent or "unknown")
        values: Properties = {
            "tenant": ended.tenant, "code": ended.code, "n": ended.n, "seconds": round(ended.seconds, 3)
        }  # fmt: skip
        write.link(EdgeRow("ENDED", source, skill, ended.n, f"{ended.tenant}{SEPARATOR}{ended.code}", values))
    return write


def _agent(write: GraphWrite, change: Change) -> None:
    own = node_id("agent", change.key)
    if _gone(write, change, own):
        return
    organ = change.payload.get("organ")
    write.put(_node(own, "Agent", change, name=change.key, lifecycle=change.payload.get("lifecycle")))
    targets = [_stub(write, "Organ", "organ", organ)] if organ else []
    _only(write, "BELONGS_TO", own, change.seq, targets)


def _organ(write: GraphWrite, change: Change) -> None:
    own, spec = node_id("organ", change.key), change.payload.get("spec") or {}
    if change.payload.get("removed") or _gone(write, change, own):
        write.remove(own)
        return
    about = {"description": spec.get("description"), "agents": spec.get("agents")}
    write.put(_node(own, "Organ", change, name=change.key, **about))
    _only(write, "TAKES", own, change.seq, [_stub(write, "Skill", "skill", name) for name in spec.get("skills") or []])


def _skill(write: GraphWrite, change: Change) -> None:
    own, facts = node_id("skill", change.key), change.payload
    if _gone(write, change, own):
        return
    write.put(_node(own, "Skill", change, name=change.key, slow=facts.get("slow"), platform=facts.get("platform")))
    if facts.get("organ"):
        _only(write, "RUNS_IN", own, change.seq, [_stub(write, "Organ", "organ", facts["organ"])])


def _plan(write: GraphWrite, change: Change) -> None:
    own, facts = node_id("plan", change.key), change.payload
    about = {name: facts.get(name) for name in ("tenant", "type", "goal", "status", "at")}
    write.put(_node(own, "Plan", change, **about))
    used = [_stub(write, "Skill", "skill", name) for name in facts.get("skills") or []]
    _only(write, "USES", own, change.seq, used)
    if facts.get("parent"):
        parent = node_id("plan", facts["parent"])
        write.put(NodeRow(parent, "Plan", 0, {"tenant": _value(facts.get("tenant"))}))
        _only(write, "PART_OF", own, change.seq, [parent])


def _plan_end(write: GraphWrite, change: Change) -> None:
    facts = change.payload
    write.put(_node(node_id("plan", change.key), "Plan", change, tenant=facts["tenant"], status=facts.get("status")))


def _dead(write: GraphWrite, change: Change) -> None:
    for facts in change.payload:
        own = node_id("dead", facts["id"])
        about = {name: facts.get(name) for name in ("tenant", "type", "code", "at")}
        write.put(_node(own, "DeadLetter", change, **about))
        _only(write, "DIED_AS", own, change.seq, [_stub(write, "Skill", "skill", facts["type"])])
        if facts.get("agent"):
            _only(write, "DIED_AT", own, change.seq, [_stub(write, "Agent", "agent", facts["agent"])])
        if facts.get("parent"):
            parent = node_id("plan", facts["parent"])
            write.put(NodeRow(parent, "Plan", 0, {"tenant": _value(facts.get("tenant"))}))
            _only(write, "PART_OF", own, change.seq, [parent])


def _not_dead(write: GraphWrite, change: Change) -> None:
    for task in change.payload:
        write.remove(node_id("dead", task))


def _triage(write: GraphWrite, change: Change) -> None:
    own, facts = node_id("incident", change.key), change.payload
    if facts.get("dry_run") or _gone(write, change, own):
        return
    about = {name: facts.get(name) for name in ("stream", "action", "status", "at")}
    # Streams mix the tasks of all tenants, so what is known of one is for those who operate SeedCore.
    write.put(_node(own, "Incident", change, tenant="default", kind="triage", **about))
    _on_stream(write, own, facts.get("stream"), change.seq)


def _flashbulb(write: GraphWrite, change: Change) -> None:
    own, facts = node_id("incident", change.key), change.payload
    if _gone(write, change, own):
        return
    about = {name: facts.get(name) for name in ("kind", "salience", "stream", "code", "task_id")}
    tenant = facts.get("tenant") or "default"
    write.put(_node(own, "Incident", change, tenant=tenant, at=facts.get("created_at"), **about))
    _on_stream(write, own, facts.get("stream"), change.seq)
    if facts.get("type"):
        write.link(EdgeRow("HAPPENED_ON", own, _stub(write, "Skill", "skill", facts["type"]), change.seq))
    if facts.get("triage_id"):
        triage = node_id("incident", facts["triage_id"])
        write.put(NodeRow(triage, "Incident", 0, {"tenant": "default"}))
        write.link(EdgeRow("ANSWERED_BY", own, triage, change.seq))


def _fact(write: GraphWrite, change: Change) -> None:
    own, facts = node_id("fact", change.key), change.payload
    if _gone(write, change, own):
        return
    names = ("tenant", "subject", "predicate", "object", "source", "valid_from", "valid_to")
    write.put(_node(own, "Fact", change, **{name: facts.get(name) for name in names}))
    for edge, name in (("ABOUT", facts.get("subject")), ("SAYS", facts.get("object"))):
        thing = node_id("thing", facts.get("tenant"), name)
        write.put(NodeRow(thing, "Thing", 0, {"tenant": _value(facts.get("tenant")), "name": _value(name)}))
        _only(write, edge, own, change.seq, [thing])


def _fact_use(write: GraphWrite, change: Change) -> None:
    fact, _, plan = change.key.partition(SEPARATOR)
    if change.payload.get("gone"):
        return
    source, target = node_id("plan", plan), node_id("fact", fact)
    # Their tenant comes with themselves; until then only who operates the graph sees them.
    write.put(NodeRow(source, "Plan", 0, {"tenant": ""}))
    write.put(NodeRow(target, "Fact", 0, {"tenant": ""}))
    write.link(EdgeRow("RELIED_ON", source, target, change.seq, "", {"at": _value(change.payload.get("at"))}))


def _alias(write: GraphWrite, change: Change) -> None:
    name, _, alias = change.key.partition(SEPARATOR)
    model, type_ = _stub(write, "Model", "model", name), f"{alias.upper()}_OF"
    if type_ not in ("CHAMPION_OF", "CANDIDATE_OF"):
        return
    if change.payload.get("gone"):
        write.replace_edges(type_, model, change.seq, [])
        return
    version, facts = _version(write, name, change.payload["version"]), change.payload
    values: Properties = {"since": _value(facts.get("since")), "by": _value(facts.get("set_by"))}
    # From the model, so that it has one of each.
    write.replace_edges(type_, model, change.seq, [EdgeRow(type_, model, version, change.seq, "", values)])


def _promotion(write: GraphWrite, change: Change) -> None:
    facts = change.payload
    if facts.get("gone"):
        return
    candidate = _version(write, facts["name"], facts["candidate"])
    model = node_id("model", facts["name"])
    rival = model if facts.get("champion") is None else _version(write, facts["name"], facts["champion"])
    names = ("status", "forced", "opened_by", "opened_at", "decided_at")
    values: Properties = {name: _value(facts.get(name)) for name in names}
    write.link(EdgeRow("CHALLENGED", candidate, rival, change.seq, change.key, values))


def _retraining(write: GraphWrite, change: Change) -> None:
    if change.payload.get("gone"):
        return
    facts, incident = change.payload, node_id("incident", change.key)
    write.put(NodeRow(incident, "Incident", 0, {"tenant": "default"}))
    values: Properties = {"task": _value(facts.get("task_id")), "at": _value(facts.get("at"))}
    write.link(EdgeRow("RETRAINED", incident, _stub(write, "Model", "model", facts["name"]), change.seq, "", values))


def _on_stream(write: GraphWrite, incident: str, stream: object, seq: int) -> None:
    """A stream is `domain/type`: its incidents are on that skill."""
    if not isinstance(stream, str) or not stream:
        return
    # Its name holds a domain, which is a tenant's own word.
    own = node_id("stream", stream)
    write.put(NodeRow(own, "Stream", 0, {"tenant": "default", "name": _value(stream)}))
    skill = _stub(write, "Skill", "skill", stream.rpartition("/")[2])
    write.link(EdgeRow("HAPPENED_ON", incident, own, seq))
    write.link(EdgeRow("HAPPENED_ON", incident, skill, seq))


def _version(write: GraphWrite, name: object, version: object) -> str:
    own = node_id("model", f"{name}@{version}")
    write.put(NodeRow(own, "ModelVersion", 0, {"name": _value(name), "version": _value(version)}))
    write.link(EdgeRow("VERSION_OF", own, _stub(write, "Model", "model", name), 1))
    return own


def _stub(write: GraphWrite, label: str, kind: str, name: object) -> str:
    """Make sure that a node is there."""
    own = node_id(kind, name)
    write.put(NodeRow(own, label, 0, {"name": _value(name)}))
    return own


def _only(write: GraphWrite, type_: str, source: str, seq: int, targets: Iterable[str]) -> None:
    write.replace_edges(type_, source, seq, [EdgeRow(type_, source, target, seq) for target in targets])


def _node(id_: str, label: str, change: Change, **values: object) -> NodeRow:
    return NodeRow(id_, label, change.seq, {name: _value(value) for name, value in values.items()})


def _gone(write: GraphWrite, change: Change, own: str) -> bool:
    if isinstance(change.payload, Mapping) and change.payload.get("gone"):
        write.remove(own)
        return True
    return False


def _value(value: object) -> Value:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)[:MAX_TEXT]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:MAX_TEXT]


_TAKERS: dict[str, Callable[[GraphWrite, Change], None]] = {
    "agent": _agent,
    "organ": _organ,
    "skill": _skill,
    "plan": _plan,
    "plan_end": _plan_end,
    "dead": _dead,
    "not_dead": _not_dead,
    "triage": _triage,
    "flashbulb": _flashbulb,
    "fact": _fact,
    "fact_use": _fact_use,
    "alias": _alias,
    "promotion": _promotion,
    "retraining": _retraining,
}
