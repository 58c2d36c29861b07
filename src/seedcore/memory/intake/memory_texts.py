"""How ended plans, failures, triages and facts read as memories.

What these texts quote comes from tasks: it is data, bounded here and stripped of secrets when it is stored. Numbers
that differ each time stand in the metadata, so that the same thing again is the same memory.
"""

import json
from collections.abc import Mapping
from typing import Any

from seedcore.memory.facts.fact import Fact
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.memory_limits import ALL, MAX_TAG_CHARS, MAX_TAGS, MAX_TEXT_CHARS
from seedcore.tasks.plans.ended_plans import EndedPlan, EndedStep

MAX_SHOWN_STEPS = 24
MAX_QUOTED = 500

SALIENCE_COMPLETED, SALIENCE_FAILED, SALIENCE_TRIAGE, SALIENCE_FACT = 0.4, 0.7, 0.7, 0.6


def plan_memory(plan: EndedPlan) -> NewMemory:
    """What was planned for what, and how it ended."""
    ended = plan.status
    if plan.error_code is not None:
        ended += f" ({plan.error_code}{_after_colon(plan.error_message)})"
    chain = " → ".join(_step(step) for step in plan.steps[:MAX_SHOWN_STEPS])
    more = len(plan.steps) - MAX_SHOWN_STEPS
    text = f"Plan for {_purpose(plan)}: {chain}{f' and {more} more steps' if more > 0 else ''}. It {ended}."
    skills = sorted({step.skill for step in plan.steps})
    return NewMemory(
        text=text[:MAX_TEXT_CHARS],
        tenant=plan.tenant,
        scope=_scope(plan.domain),
        tags=_tags("plan", plan.status, *skills),
        metadata={
            "task": str(plan.id),
            "type": plan.type[:200],
            "goal": None if plan.goal is None else plan.goal[:MAX_QUOTED],
            "inputs": list(plan.inputs),
            "skills": [step.skill[:200] for step in plan.steps[:MAX_SHOWN_STEPS]],
            "steps": len(plan.steps),
            "status": plan.status,
            "code": plan.error_code,
            "seconds": None if plan.seconds is None else round(plan.seconds, 3),
            "replans": plan.replans,
            "recipe": plan.recipe,
            "rule": plan.rule,
            "ended_at": plan.finished_at.isoformat(),
        },
        salience=SALIENCE_COMPLETED if plan.status == "completed" else SALIENCE_FAILED,
        source="plan",
        source_id=str(plan.id),
    )


def failure_memory(ref: str, payload: Mapping[str, Any]) -> NewMemory:
    """A kind of failure: of a tenant, type and code, with its newest message."""
    type_, code = str(payload["type"]), str(payload["code"])
    said = f"Tasks of type {type_} fail with code {code}{_after_colon(payload.get('message'), 2 * MAX_QUOTED)}"
    text = f"{said.rstrip('.')}."
    return NewMemory(
        text=text[:MAX_TEXT_CHARS],
        tenant=str(payload["tenant"]),
        scope=_scope(payload.get("domain")),
        tags=_tags("failure", code, type_),
        metadata={"task": payload.get("task"), "type": type_[:200], "code": code[:200]},
        salience=SALIENCE_FAILED,
        source="failure",
        source_id=ref[:512],
        replaces=True,
    )


def triage_memory(ref: str, payload: Mapping[str, Any]) -> NewMemory:
    """An incident: what was thought to be its cause, and what was done."""
    decision = payload.get("decision") or {}
    action, status = str(payload.get("action")), str(payload.get("status"))
    causes = [_cause(cause) for cause in ((payload.get("reasons") or {}).get("hypotheses") or [])[:3]]
    stream = payload.get("stream")
    about = f"of the stream {str(stream)[:400]}" if stream else "of given series"
    why = _after_colon(decision.get("reason"))
    said = f"Likely causes: {'; '.join(causes)}. " if causes else ""
    score = (payload.get("salience") or {}).get("score")
    return NewMemory(
        text=f"Incident {about}. {said}Action: {action}{why}; it is {status}."[:MAX_TEXT_CHARS],
        scope=_scope(str(stream).rpartition("/")[0] or None) if stream else ALL,
        tags=_tags("triage", action, status),
        metadata={"triage": ref, "stream": stream, "action": action, "status": status, "causes": causes},
        salience=min(1.0, max(float(score), 0.1)) if isinstance(score, (int, float)) else SALIENCE_TRIAGE,
        source="triage",
        source_id=ref[:512],
        replaces=True,
    )


def fact_memory(fact: Fact) -> NewMemory:
    """A fact as a memory; it goes when the fact goes."""
    return NewMemory(
        text=fact.text[:MAX_TEXT_CHARS],
        tenant=fact.tenant,
        tags=_tags("fact", *fact.tags),
        metadata={
            "fact": str(fact.id),
            "subject": fact.subject[:MAX_QUOTED],
            "predicate": fact.predicate[:MAX_QUOTED],
            "object": fact.object[:MAX_QUOTED],
            "valid_from": fact.valid_from.isoformat(),
            "valid_to": None if fact.valid_to is None else fact.valid_to.isoformat(),
        },
        salience=SALIENCE_FACT,
        source="fact",
        source_id=str(fact.id),
        replaces=True,
    )


def _purpose(plan: EndedPlan) -> str:
    given = f" from {', '.join(plan.inputs)}" if plan.inputs else ""
    if plan.goal is None:
        return f"a task of type {plan.type[:200]}{given}"
    goal = json.loads(plan.goal) if len(plan.goal) < 2000 else plan.goal
    names = goal if isinstance(goal, str) else ", ".join(map(str, goal)) if isinstance(goal, list) else plan.goal
    return f"{names[:MAX_QUOTED]}{given}"


def _step(step: EndedStep) -> str:
    if step.status in (None, "completed"):
        return step.skill
    return f"{step.skill} [{step.status}{f' {step.code}' if step.code else ''}{_after_colon(step.message, 200)}]"


def _cause(cause: Mapping[str, Any]) -> str:
    about = cause.get("about")
    belief = cause.get("belief")
    share = f" ({belief:.0%})" if isinstance(belief, (int, float)) else ""
    return f"{str(cause.get('name'))[:200]}{f' {str(about)[:200]}' if about else ''}{share}"


def _after_colon(message: object, limit: int = MAX_QUOTED) -> str:
    text = "" if message is None else " ".join(str(message).split())
    return f": {text[:limit]}" if text else ""


def _scope(domain: object) -> str:
    name = "" if domain is None else str(domain).strip()
    fits = name and len(name) <= 128 and not any(char < " " for char in name) and name[0] != ":"
    return f"domain:{name}" if fits else ALL


def _tags(*tags: str) -> list[str]:
    return [tag[:MAX_TAG_CHARS] for tag in tags if tag.strip()][:MAX_TAGS]
