"""What a claimant remembers of one lane from claim to claim. Nothing of it is written, so claimants never contend."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from seedcore.tasks.claims.ageing import Ageing
from seedcore.tasks.claims.claim_position import FIRST, FULL_S, LAST, WHOLE, Claimed, ClaimPosition, Head, Places
from seedcore.tasks.claims.turns import MAX_VISITS, SPARE_VISITS, Turns, Visit
from seedcore.tasks.model import DEFAULT_TENANT

SURVEY_S = 0.05
"""With tenants, a claimant looks this often which of them have ready tasks."""

SURVEY_SHARE = 0.02
"""The more there is to look at, the less often: looking takes so much of the time."""

MAX_SURVEY_S = 0.5
QUIET_SURVEY_S = 0.25
"""Without, it looks so often whether there are some, while its claims come full; else a claim sees all there is."""

MIXED_S = 300.0
"""So long after a tenant other than `default` was seen, tenants are looked for before claims."""

WEIGHTS_S = 1.0
MAX_SURVEYED = 128
"""Heads that one look gives at most; the next one goes on behind them."""

END = 2**63 - 1

Turn = tuple[int, str, int, int, str, int, int]
"""As a place, then the number of the end, and how many rows to take at most."""

Ranges = tuple[list[int], list[str], list[int], list[int], list[str], list[int], list[int], int, int]
"""Turns by column; of them so many are of aged tasks, and so many of those are taken at most."""


class ClaimPlan(NamedTuple):
    """What a claim looks through: `turns` first, one after the other (None: there is no need), then all in order."""

    places: Places
    turns: Ranges | None = None


class ClaimCursor:
    """Position, turns and ageing of one claimant in one lane of one queue.

    Args:
        ageing_s: after this wait a task has a right to one place of twenty (0: never).
    """

    def __init__(self, ageing_s: float = 0.0) -> None:
        self._position = ClaimPosition()
        self._turns = Turns()
        self._ageing = Ageing(ageing_s)
        self._heads: dict[Head, int] = {}
        self._visits: list[Visit] = []
        self._aged: set[Head] = set()
        self._mixed_until = self._surveyed_at = self._whole_survey_at = self._weighed_at = float("-inf")
        self._full = True
        self._pause_s = SURVEY_S
        self._from: tuple[int, str, int] = (FIRST, "", 0)

    @property
    def survey_due(self) -> bool:
        """Whether to look which tenants and priorities have ready tasks, before the next claim."""
        now = time.monotonic()
        if now < self._mixed_until:
            return now - self._surveyed_at >= self._pause_s
        return self._full and now - self._surveyed_at >= QUIET_SURVEY_S

    @property
    def unweighed(self) -> list[str] | None:
        """The tenants whose weights are to be read now; None: not yet."""
        now = time.monotonic()
        if now >= self._mixed_until or now - self._weighed_at < WEIGHTS_S:
            return None
        self._weighed_at = now
        return sorted({tenant for _, tenant in self._heads})

    def weigh(self, weights: Mapping[str, int]) -> None:
        """These tenants have weights of their own."""
        self._turns.weights = weights

    def survey_places(self) -> Places:
        """What to look through for heads; from time to time all, for what committed late."""
        now = time.monotonic()
        self._surveyed_at = now
        if now - self._whole_survey_at >= FULL_S:
            self._whole_survey_at = now
            places = WHOLE
        else:
            places = self._position.known_places()
        if self._from[0] == FIRST:
            return places
        kept = [place for place in zip(*places, strict=True) if place[3:] > self._from[:2]]
        ranks, tenants, seqs, ends, end_tenants = (list(column) for column in zip(*kept, strict=True))
        ranks[0], tenants[0], seqs[0] = max((ranks[0], tenants[0], seqs[0]), self._from)
        return ranks, tenants, seqs, ends, end_tenants

    def surveyed(self, rows: Sequence[tuple[int, str, int]], last_seq: int) -> None:
        """These heads (rank, tenant, first number) have tasks, and `last_seq` is the last number that was given."""
        took_s = time.monotonic() - self._surveyed_at
        self._pause_s = min(max(SURVEY_S, took_s / SURVEY_SHARE), MAX_SURVEY_S)
        if rows:
            self._ageing.sampled(last_seq)
        begun = self._from[:2]
        complete = len(rows) < MAX_SURVEYED
        end = (LAST, "") if complete else rows[-1][:2]
        self._from = (FIRST, "", 0) if complete else (*end, END)
        heads = {head: seq for head, seq in self._heads.items() if not begun < head <= end}
        heads.update({(rank, tenant): seq for rank, tenant, seq in rows})
        self._heads = heads
        self._turns.forget(heads)
        self._note_tenants({tenant for _, tenant, _ in rows})

    def _note_tenants(self, tenants: set[str]) -> None:
        if tenants - {DEFAULT_TENANT}:
            self._mixed_until = time.monotonic() + MIXED_S

    def plan(self, limit: int) -> ClaimPlan:
        """What to look through for `limit` tasks."""
        places = self._position.places()
        self._visits, self._aged = [], set()
        self._turns.begin()
        if not self._heads:
            return ClaimPlan(places)
        by_rank: dict[int, list[str]] = {}
        for rank, tenant in sorted(self._heads):
            by_rank.setdefault(rank, []).append(tenant)
        best = next(iter(by_rank))
        aged, old_places = self._ageing.places(self._heads, best, limit)
        if not aged and all(len(tenants) == 1 for tenants in by_rank.values()):
            return ClaimPlan(places)
        after, found = self._position.after, list[Turn]()
        for head, begin, end in aged:
            found.append((*head, max(begin, after(head)), *head, end, old_places))
        self._aged = {head for head, _, _ in aged}
        # A better priority that is not known yet.
        found.append((FIRST, "", 0, best, "", 0, limit))
        for rank, tenants in by_rank.items():
            for head, quota in self._turns.plan(rank, tenants, limit):
                self._visits.append(Visit(head, quota))
                found.append((*head, after(head), *head, END, quota))
            if len(self._visits) >= min(limit + SPARE_VISITS, MAX_VISITS):
                break
        ranks, names, seqs, ends, end_names, end_seqs, quotas = (list(column) for column in zip(*found, strict=True))
        return ClaimPlan(places, (ranks, names, seqs, ends, end_names, end_seqs, quotas, len(aged), old_places))

    def claimed(self, found: Claimed, limit: int) -> None:
        """Of at most `limit` these were claimed."""
        counts = {head: len(seqs) for head, seqs in found.items()}
        total = sum(counts.values())
        self._full = total >= limit
        self._position.claimed(found, self._full)
        for head, seqs in found.items():
            self._heads[head] = max(self._heads.get(head, 0), max(seqs) + 1)
        self._note_tenants({tenant for _, tenant in found})
        aged = sum(counts.get(head, 0) for head in self._aged)
        self._ageing.claimed(total, aged)
        if self._visits:
            before = aged + sum(count for (rank, _), count in counts.items() if rank < self._visits[0].head[0])
            for head in self._turns.served(self._visits, counts, limit - before):
                self._heads.pop(head, None)
