"""Turns: shares follow the weights, whoever joins, leaves or has little, in claims of one and of hundreds."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.tasks.claims.turns import Turns


class Backlogs:
    """What tenants have ready in one priority, and what a claimant made of it."""

    def __init__(self, ready: dict[str, int], weights: dict[str, int] | None = None) -> None:
        self.ready = Counter(ready)
        self.turns = Turns()
        self.turns.weights = weights or {}
        self.served = Counter[str]()
        self.visited = set[str]()

    def claim(self, limit: int) -> int:
        """A claim; returns how many it took."""
        names = sorted(name for name, count in self.ready.items() if count > 0)
        self.turns.begin()
        visits = self.turns.plan(0, names, limit) if names else []
        taken, left = Counter[tuple[int, str]](), limit
        for head, quota in visits:
            count = min(quota, left, self.ready[head[1]])
            taken[head] += count
            left -= count
            self.visited.add(head[1])
            if not left:
                break
        self.turns.served(visits, taken, limit)
        for (_, name), count in taken.items():
            self.ready[name] -= count
            self.served[name] += count
        return limit - left


@pytest.mark.parametrize("limit", [1, 7, 100, 500])
def test_shares_are_as_the_weights_within_a_round(limit: int):
    queue = Backlogs(dict.fromkeys("abc", 100_000), {"b": 2, "c": 4})
    while queue.served.total() < 20_000:
        assert queue.claim(limit) == limit
    total = queue.served.total()
    for name, weight in (("a", 1), ("b", 2), ("c", 4)):
        assert queue.served[name] / total == pytest.approx(weight / 7, abs=0.01)


@pytest.mark.parametrize("limit", [1, 500])
def test_a_hundred_equal_tenants_get_the_same(limit: int):
    names = [f"t{n:03}" for n in range(100)]
    queue = Backlogs(dict.fromkeys(names, 100_000))
    while queue.served.total() < 15_000:
        queue.claim(limit)
    counts = [queue.served[name] for name in names]
    assert sum(counts) ** 2 / (len(counts) * sum(c * c for c in counts)) > 0.99


def test_a_claim_visits_few_of_many_and_goes_on_with_the_next():
    queue = Backlogs({f"t{n:03}": 100_000 for n in range(100)})
    for claims in range(1, 5):
        queue.claim(500)
        assert len(queue.visited) <= 34 * claims
    assert len(queue.visited) == 100


def test_who_comes_late_gets_its_share_and_no_more():
    queue = Backlogs({"a": 100_000, "b": 100_000})
    for _ in range(20):
        queue.claim(100)
    queue.ready["c"] = 100_000
    before = Counter(queue.served)
    for _ in range(30):
        queue.claim(100)
    got = queue.served - before
    assert max(got.values()) - min(got.values()) <= 102


def test_a_claim_that_came_to_nothing_changes_no_turn():
    queue, other = (Backlogs({"a": 1000, "b": 1000}, {"a": 3}) for _ in range(2))
    for _ in range(5):
        other.turns.begin()
        other.turns.plan(0, ["a", "b"], 50)
        queue.claim(50)
        other.claim(50)
    assert queue.served == other.served


def test_heavy_weights_do_not_leave_the_light_without_turns():
    queue = Backlogs({"a": 10_000_000, "b": 100_000}, {"a": 1000})
    for _ in range(5000):
        queue.claim(10)
    assert queue.served["b"] == pytest.approx(50_000 / 1001, rel=0.2)


amounts = st.integers(0, 300)


@given(
    rounds=st.lists(
        st.tuples(st.dictionaries(st.sampled_from("abcdefgh"), amounts, max_size=8), st.integers(1, 60)), max_size=30
    ),
    weights=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 1000), max_size=8),
)
def test_no_claim_of_what_is_there_gives_nothing_and_all_are_served(
    rounds: list[tuple[dict[str, int], int]], weights: dict[str, int]
):
    queue = Backlogs({}, weights)
    for more, limit in rounds:
        queue.ready.update(more)
        took = queue.claim(limit)
        assert took or not queue.ready.total()
    while queue.ready.total():
        assert queue.claim(60)


@given(
    weights=st.lists(st.integers(1, 50), min_size=2, max_size=12),
    limits=st.lists(st.sampled_from([1, 3, 20, 500]), min_size=1, max_size=5),
)
def test_with_backlogs_nobody_is_more_than_two_turns_behind(weights: list[int], limits: list[int]):
    names = [chr(ord("a") + n) for n in range(len(weights))]
    of = dict(zip(names, weights, strict=True))
    queue = Backlogs(dict.fromkeys(names, 10**9), of)
    longest = 0.0
    for n in range(60):
        limit = limits[n % len(limits)]
        queue.claim(limit)
        longest = max(longest, (limit + len(of)) / sum(weights), 1 / min(weights))
        for name in names:
            fair = queue.served.total() * of[name] / sum(weights)
            assert abs(queue.served[name] - fair) <= 2 * longest * sum(weights) + len(names)
