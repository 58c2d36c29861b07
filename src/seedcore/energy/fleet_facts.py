"""Facts of the live fleet that State does not tell: what the valves found, and which agents share plans."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import asyncpg

from seedcore.schemas.energy import Pair
from seedcore.tasks import history
from seedcore.tasks.history import StepsOfAgent

WINDOW_S = 3600.0
"""Traffic and plans of this long are looked at."""

MOST_PLANS, MOST_STREAMS = 500, 1000
MOST_AGENTS = 32
"""Agents of one plan, those with most of its steps: pairs grow with the square."""

# All of `valves`: two rows a stream. The ledger goes by its index energy_ledger_at.
_EVIDENCE = """
select stream, max((facts->>'evidence')::float8) as evidence, max((facts->>'seen')::bigint) as seen
from seedcore.valves group by stream order by stream limit $1
"""
_TRAFFIC = """
select substr(scope, strpos(scope, '/') + 1) as type, sum(outcomes)::bigint as outcomes from seedcore.energy_ledger
where at >= now() - make_interval(secs => $1) group by 1
"""


@dataclass(slots=True)
class Beside:
    """What is known, and why the rest is not.

    Attributes:
        drift: evidence by stream, of those that have a valve.
        traffic: for each of them its share of all tasks that ended lately.
        collaboration: pairs of agents that share open plans.
        absent: reasons by term.
    """

    drift: dict[str, float] | None = None
    traffic: dict[str, float] | None = None
    collaboration: list[Pair] | None = None
    absent: dict[str, str] = field(default_factory=dict)


async def read(connection: asyncpg.Connection) -> Beside:
    """What PostgreSQL knows; three statements."""
    streams = {
        row["stream"]: (row["evidence"], row["seen"] or 0) for row in await connection.fetch(_EVIDENCE, MOST_STREAMS)
    }
    ended = {row["type"]: row["outcomes"] for row in await connection.fetch(_TRAFFIC, WINDOW_S)}
    parts = await history.steps_by_agent(connection, WINDOW_S, MOST_PLANS)
    found = Beside()
    evidence = {stream: value for stream, (value, _) in streams.items() if value is not None}
    if not evidence:
        found.absent["drift"] = "no stream has a valve yet: all of them are still learning"
    elif not any(ended.values()):
        found.absent["drift"] = f"no task ended within {WINDOW_S:g} s: evidence without traffic says nothing"
    else:
        shares = traffic({stream: seen for stream, (_, seen) in streams.items()}, ended)
        found.drift, found.traffic = evidence, {stream: shares[stream] for stream in evidence}
    if parts:
        found.collaboration = pairs(parts)
    else:
        found.absent["collaboration"] = f"no step of a plan ended within {WINDOW_S:g} s"
    return found


def traffic(seen: Mapping[str, int], ended: Mapping[str, int]) -> dict[str, float]:
    """Each stream's share of the tasks that ended; they sum to at most 1.

    The ledger knows types, streams are of a type in a domain (`domain/type`): those of one type share its tasks by how
    many each has ever seen.

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
    """The longest of the known types that the stream can be of; none: the stream's whole name."""
    name = stream
    while name not in ended and "/" in name:
        name = name.partition("/")[2]
    return name if name in ended else stream


def pairs(parts: Iterable[StepsOfAgent]) -> list[Pair]:
    """Pairs of agents that share open plans: steps that they ended there, and how many of 1 of all that they shared
    completed, over all plans."""
    plans: defaultdict[object, list[StepsOfAgent]] = defaultdict(list)
    for part in parts:
        plans[part.plan].append(part)
    steps, good, shared = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for own in plans.values():
        most = sorted(own, key=lambda part: (-part.steps, part.agent))[:MOST_AGENTS]
        for one, other in combinations(sorted(most, key=lambda part: part.agent), 2):
            pair = one.agent, other.agent
            steps[pair] += one.steps + other.steps
            good[pair] += one.completed + other.completed
            if one.open:
                shared[pair] += one.steps + other.steps
    return [Pair(agents=pair, steps=count, success=good[pair] / steps[pair]) for pair, count in sorted(shared.items())]
