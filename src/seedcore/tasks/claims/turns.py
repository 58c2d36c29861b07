"""Turns within a priority: deficit round robin over the tenants that have ready tasks (Shreedhar and Varghese, 1995).

In its turn a tenant may take as many tasks as its weight is worth; what it could not take for want of room it keeps,
what it had no tasks for is forfeited. The claimant keeps all this in memory: each is fair by itself, and so all are.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from seedcore.tasks.claims.claim_position import Head

MAX_VISITS = 128
"""Heads that one claim visits at most."""

SPARE_VISITS = 16
"""So many more are ready to be visited, in case the first have too few."""

TURNS_A_CLAIM = 32
"""So many turns fit into a claim: shorter ones cost more, longer ones let the others wait."""

MAX_ROUNDS = 64


class Visit(NamedTuple):
    """A head, and how many tasks its tenant may take in this claim."""

    head: Head
    quota: int


class Turns:
    """Whose turn it is, in each priority of one lane.

    Attributes:
        weights: of tenants that have one of their own; the others' is 1.
    """

    def __init__(self) -> None:
        self.weights: Mapping[str, int] = {}
        self._credits: dict[Head, float] = {}
        self._planned: dict[Head, float] = {}
        """Credits as they are when a tenant's part in the claim that is planned has come."""
        self._next: dict[int, str] = {}
        self._open: dict[int, str] = {}

    def forget(self, known: Iterable[Head]) -> None:
        """Only these have tasks: the credits of the others are forfeited."""
        kept = set(known)
        self._credits = {head: credit for head, credit in self._credits.items() if head in kept}
        ranks = {rank for rank, _ in kept}
        self._next = {rank: tenant for rank, tenant in self._next.items() if rank in ranks}
        self._open = {rank: tenant for rank, tenant in self._open.items() if rank in ranks}

    def begin(self) -> None:
        """A claim is planned: what was planned for one that came to nothing is forgotten."""
        self._planned = {}

    def plan(self, rank: int, tenants: Sequence[str], limit: int) -> list[Visit]:
        """Visits for a claim of `limit` to the tenants (in order) that have tasks of this rank.

        Those up to the one at which the claim ends are worth `limit` tasks, if all have enough; the others stand
        behind, in case some have too few. No head comes twice: a tenant that has several turns has them as one.
        """
        weights = [self.weights.get(tenant, 1) for tenant in tenants]
        total, count = sum(weights), len(tenants)
        unit = max(limit / total * max(1.0, count / TURNS_A_CLAIM), 1.0 / min(weights))
        first = bisect_left(tenants, self._next.get(rank, ""))
        order = [((rank, tenants[n % count]), weights[n % count]) for n in range(first, first + count)]
        quotas, left, opened = dict[Head, int](), limit, self._open.get(rank)
        for turn in range(MAX_ROUNDS * count):
            head, weight = order[turn % count]
            if head not in quotas and len(quotas) >= MAX_VISITS:
                break
            credit = self._credit(head)
            if turn or head[1] != opened:
                credit += weight * unit
            self._planned[head] = credit
            took = quotas.pop(head, 0)
            quotas[head] = max(took, int(credit))
            left -= quotas[head] - took
            if left <= 0:
                break
        most = min(len(quotas) + SPARE_VISITS, MAX_VISITS)
        for head, weight in order:
            if head not in quotas and len(quotas) < most:
                self._planned[head] = self._credit(head) + weight * unit
                quotas[head] = int(self._planned[head])
        return [Visit(head, quota) for head, quota in quotas.items() if quota > 0]

    def _credit(self, head: Head) -> float:
        return self._planned.get(head, self._credits.get(head, 0.0))

    def served(self, visits: Sequence[Visit], counts: Mapping[Head, int], limit: int) -> list[Head]:
        """These visits gave so many tasks, until there were `limit`; returns the heads that have no more."""
        planned, self._planned = self._planned, {}
        empty: list[Head] = []
        for head, quota in visits:
            if limit <= 0:
                break
            rank, tenant = head
            count = min(counts.get(head, 0), quota)
            limit -= count
            self._next[rank] = tenant
            if count == quota:
                self._credits[head] = planned[head] - count
                self._next[rank] += "\0"
                self._open.pop(rank, None)
            elif limit <= 0:
                self._credits[head] = planned[head] - count
                self._open[rank] = tenant
            else:
                self._credits.pop(head, None)
                self._next[rank] += "\0"
                self._open.pop(rank, None)
                empty.append(head)
        return empty
