"""Tries a policy on recorded decisions: how it would have routed the last tasks that ended."""

from collections import Counter
from typing import Any

from seedcore.decision.policy import Policy
from seedcore.decision.rulings import valve_facts
from seedcore.decision.salience import formula
from seedcore.decision.stream_status import StreamStatus
from seedcore.stores.postgres import Database, loads
from seedcore.tasks import history

_NOT_RECORDED = {("task", "approved"), *(("valve", name) for name in ("shifted", "held", "work", "outcome"))}


async def replay(database: Database, policy: Policy, limit: int, threshold: float) -> dict[str, Any]:
    """Recorded and new routes of at most `limit` tasks, by count.

    Rules that use facts that are not recorded (fleet, budget, approval, evidence of one monitor) cannot be tried:
    `untested` names them, and they hold for no task here. `approximated` names the rules that ask for the salience,
    which is not recorded either: here it is the formula's, of the recorded evidence, priority and attempts.
    """
    untested = sorted(rule.name for rule in policy.rules if _unrecorded(rule.fields))
    tested = Policy(policy.source, policy.version, [rule for rule in policy.rules if rule.name not in untested])
    async with database.connection() as connection:
        rows = await history.decisions(connection, limit)
    by_rule: Counter[str] = Counter()
    changes: Counter[tuple[str, str]] = Counter()
    for row in rows:
        recorded = loads(row.decision)
        ruling = tested.evaluate(_facts(row, recorded, threshold), {})
        by_rule[ruling.rule if ruling else "(none)"] += 1
        before, after = str(recorded.get("route")), ruling.route if ruling else str(recorded.get("route"))
        if before != after:
            changes[before, after] += 1
    return {
        "version": policy.version,
        "tasks": len(rows),
        "by_rule": dict(by_rule),
        "changes": [{"from": before, "to": after, "tasks": count} for (before, after), count in changes.most_common()],
        "failures": dict(tested.failures),
        "untested": untested,
        "approximated": sorted(rule.name for rule in tested.rules if ("salience", "") in rule.fields),
    }


def _unrecorded(fields: frozenset[tuple[str, str]]) -> bool:
    return any(group in ("fleet", "budget") or (group, name) in _NOT_RECORDED for group, name in fields)


def _facts(row: history.PastDecision, recorded: dict[str, Any], threshold: float) -> dict[str, dict[str, Any]]:
    evidence = recorded.get("evidence")
    state = "learning" if evidence is None else "open" if evidence >= threshold else "closed"
    salience = {"valve_evidence": evidence, "priority": row.priority, "attempts": row.attempts}
    task = {"type": row.type, "domain": row.domain, "priority": row.priority, "size": row.params_bytes}
    return {
        "task": {**task, "attempt": row.attempts, "approved": False},
        "valve": valve_facts(StreamStatus(state, evidence)),
        "salience": {"": formula(salience)},
        "fleet": {"agents": 0, "queued_s": 0.0},
        "budget": {"plans_per_minute": 0},
    }
