"""Collects facts of the live fleet that State does not have: evidence of the valves, and agents that share plans."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import asyncpg

from seedcore.fleet.ledger_repository import outcomes_by_type
from seedcore.fleet.monitor_repository import stream_evidence
from seedcore.schemas.energy import Pair
from seedcore.tasks import history
from seedcore.tasks.history import StepsOfAgent

WINDOW_S = 3600.0
"""How far back traffic and plans count."""

MAX_PLANS, MAX_STREAMS = 500, 1000
MAX_AGENTS = 32
"""Agents of one plan, those with most of its steps: the number of pairs grows with the square."""


@dataclass(slots=True)
class FleetFacts:
    """The facts that are known, and why the others are not.

    Attributes:
        drift: evidence by stream, of those that have a valve.
        traffic: for each of these streams its share of all tasks that ended lately.
        collaboration: pairs of agents that share open plans.
        absent: reasons by term.
    """

    drift: dict[str, float] | None = None
    traffic: dict[str, float] | None = None
    collaboration: list[Pair] | None = None
    absent: dict[str, str] = field(default_factory=dict)


async def read_fleet_facts(connection: asyncpg.Connection) -> FleetFacts:
    """The facts in PostgreSQL; three statements."""
    streams = await stream_evidence(connection, MAX_STREAMS)
    ended = await outcomes_by_type(connection, WINDOW_S)
    parts = await history.steps_by_agent(connection, WINDOW_S, MAX_PLANS)
    found = FleetFacts()
    evidence = {stream.stream: stream.evidence for stream in streams if stream.evidence is not None}
    if not evidence:
        found.absent["drift"] = "no stream has a valve yet: all of them are still learning"
    elif not any(ended.values()):
        found.absent["drift"] = f"no task ended within {WINDOW_S:g} s: evidence without traffic says nothing"
    else:
        shares = traffic({stream.stream: stream.seen for stream in streams}, ended)
        found.drift, found.traffic = evidence, {stream: shares[stream] for stream in evidence}
    if parts:
        found.collaboration = pairs(parts)
    else:
        found.absent["collaboration"] = f"no step of a plan ended within {WINDOW_S:g} s"
    return found


def traffic(seen: Mapping[str, int], ended: Mapping[str, int]) -> dict[str, float]:
    """Each stream's share of the tasks that ended; they sum to at most 1.

    The ledger has types, while a stream is a type in a domain (`domain/type`): the streams of one type share its tasks
    in proportion to the tasks that each has ever seen.

    Args:
        seen: tasks of each stream.
        ended: tasks of each type.
    """
    type_of = {stream: _type(stream, ended) for stream in seen}
    of_type = Counter[str]()
    for stream, known in type_of.items():
        of_type[known] += seen[stream]
    total = sum(ended.values())
    return {
        stream: ended.get(known, 0) / total * seen[stream] / of_type[known] if of_type[known] and total else 0.0
        for stream, known in type_of.items()
    }


def _type(stream: str, ended: Mapping[str, int]) -> str:
    """The longest known type that the stream can belong to; the stream's whole name when there is none."""
    name = stream
    while name not in ended and "/" in name:
        name = name.partition("/")[2]
    return name if name in ended else stream


def pairs(parts: Iterable[StepsOfAgent]) -> list[Pair]:
    """Pairs of agents that share open plans: the steps that they ended there, and the share of all their common steps
    that completed, over all plans."""
    plans: defaultdict[object, list[StepsOfAgent]] = defaultdict(list)
    for part in parts:
        plans[part.plan].append(part)
    steps, good, shared = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for own in plans.values():
        most = sorted(own, key=lambda part: (-part.steps, part.agent))[:MAX_AGENTS]
        for one, other in combinations(sorted(most, key=lambda part: part.agent), 2):
            pair = one.agent, other.agent
            steps[pair] += one.steps + other.steps
            good[pair] += one.completed + other.completed
            if one.open:
                shared[pair] += one.steps + other.steps
    return [Pair(agents=pair, steps=count, success=good[pair] / steps[pair]) for pair, count in sorted(shared.items())]
