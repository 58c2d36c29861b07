"""Landmark cuts: sets of skills of which every plan runs at least one, and what they prove a plan to cost.

Helmert and Domshlak (2009), "Landmarks, critical paths and abstractions", for problems in which no fact is removed;
here a need may be met by any of several facts.
"""

import heapq
from collections.abc import Iterator, Sequence
from math import inf

from seedcore.cognitive.engines.offline.search_problem import Action

NOTHING = 1e-12
"""Less than this is no cost: what is left of one by rounding."""


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class LandmarkCuts:
    """Finds the cuts of a problem, for any costs of its actions.

    Args:
        start: the facts that hold, as bits.
        wanted: the needs of the goal: one bit of each must hold.
        actions: what may run; costs are given in their order.
    """

    def __init__(self, start: int, wanted: Sequence[int], actions: Sequence[Action]) -> None:
        self._start, self._goal = start, len(actions)
        # The goal is the last action: its needs are what is wanted, and it adds nothing.
        needs = [action.needs for action in actions] + [tuple(wanted)]
        self._adds = [action.adds for action in actions]
        self._added = [tuple(_bits(adds)) for adds in self._adds]
        self._counts = [len(each) for each in needs]
        self._first = [sum(self._counts[:n]) for n in range(len(needs))]
        self._masks = [mask for each in needs for mask in each]
        self._owners = [action for action, each in enumerate(needs) for _ in each]
        self._width = max([start, *self._masks, *self._adds]).bit_length()
        self._users: list[list[int]] = [[] for _ in range(self._width)]
        for need, mask in enumerate(self._masks):
            for bit in _bits(mask):
                self._users[bit].append(need)
        self._start_bits = tuple(_bits(start))

    def bound(self, costs: Sequence[float]) -> tuple[float, list[tuple[int, ...]]]:
        """(what any plan costs at least, the cuts that prove it); an infinite cost: the action may not run.

        The bound is infinite when the goal cannot be reached; without cost left on the way there is no cut.
        """
        left = list(costs)
        total = 0.0
        cuts: list[tuple[int, ...]] = []
        while True:
            value, supporters = self._supporters(left)
            if value == inf:
                return inf, []
            if value <= NOTHING:
                return total, cuts
            cut = self._cut(left, supporters)
            least = min(left[action] for action in cut)
            total += least
            cuts.append(cut)
            for action in cut:
                rest = left[action] - least
                left[action] = rest if rest > NOTHING else 0.0

    def _supporters(self, costs: Sequence[float]) -> tuple[float, list[int]]:
        """(h^max of the goal, the dearest need of each action as a mask; 0: it has none).

        It stops at the goal. What has not run by then has a need that is not met yet, and which is as dear or dearer.
        """
        open_needs, supporters = self._counts[:], [0] * (self._goal + 1)
        met, values = bytearray(len(self._masks)), [inf] * self._width
        queue: list[tuple[float, int]] = [(0.0, bit) for bit in self._start_bits]
        for bit in self._start_bits:
            values[bit] = 0.0
        for action in range(self._goal):
            if not open_needs[action]:
                self._reach(action, costs[action], values, queue)
        heapq.heapify(queue)
        goal = inf if open_needs[self._goal] else 0.0
        users, owners, masks, added = self._users, self._owners, self._masks, self._added
        while queue and goal == inf:
            value, bit = heapq.heappop(queue)
            if value > values[bit]:
                continue
            for need in users[bit]:
                if met[need]:
                    continue
                met[need] = 1
                action = owners[need]
                open_needs[action] -= 1
                if open_needs[action]:
                    continue
                # Needs are met in the order of their values: the last one is the dearest.
                supporters[action] = masks[need]
                if action == self._goal:
                    goal = value
                    break
                after = value + costs[action]
                for fact in added[action]:
                    if after < values[fact]:
                        values[fact] = after
                        heapq.heappush(queue, (after, fact))
        for action in range(self._goal):
            if open_needs[action]:
                supporters[action] = next(
                    masks[n]
                    for n in range(self._first[action], self._first[action] + self._counts[action])
                    if not met[n]
                )
        return goal, supporters

    def _reach(self, action: int, after: float, values: list[float], queue: list[tuple[float, int]]) -> None:
        for bit in self._added[action]:
            if after < values[bit]:
                values[bit] = after
                queue.append((after, bit))

    def _cut(self, costs: Sequence[float], supporters: Sequence[int]) -> tuple[int, ...]:
        """The actions on the border of what reaches the goal without cost."""
        adds = self._adds
        zone, free, grows = supporters[self._goal], [n for n in range(self._goal) if costs[n] == 0.0], True
        while grows:
            grows = False
            for action in free:
                if adds[action] & zone and supporters[action] & ~zone:
                    zone |= supporters[action]
                    grows = True
        cut: list[int] = []
        reached, todo, grows = self._start & ~zone, [n for n in range(self._goal) if costs[n] < inf], True
        while grows:
            grows, later = False, []
            for action in todo:
                needs = supporters[action]
                if needs and not needs & reached:
                    later.append(action)
                    continue
                if adds[action] & zone:
                    cut.append(action)
                if adds[action] & ~zone & ~reached:
                    reached |= adds[action] & ~zone
                    grows = True
            todo = later
        return tuple(sorted(cut))
