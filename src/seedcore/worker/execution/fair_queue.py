"""Queues a host's calls fairly: agents take turns, so that the backlog of one holds up no other."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar


class _Named(Protocol):
    @property
    def agent(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


class FairQueue(Generic[Item]):
    """A queue that gives one item of each agent in turn; within an agent, in the order of arrival.

    Items wait in rounds: an agent's next item goes into the round after its last one, its first one into the current
    round. That costs little more than a plain queue.
    """

    __slots__ = ("_count", "_last", "_round", "_rounds")

    def __init__(self) -> None:
        self._rounds: dict[int, deque[Item]] = {}
        self._last: dict[str, int] = {}
        self._round = self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, items: Iterable[Item]) -> None:
        """Add items behind those of their agents."""
        rounds, last, now = self._rounds, self._last, self._round
        for item in items:
            place = last.get(item.agent, -1) + 1
            if place < now:
                place = now
            last[item.agent] = place
            queue = rounds.get(place)
            if queue is None:
                queue = rounds[place] = deque()
            queue.append(item)
            self._count += 1

    def take(self) -> Item:
        """The next item.

        Raises:
            IndexError: there is none.
        """
        if not self._count:
            raise IndexError("the queue is empty")
        queue = self._rounds[self._round]
        item = queue.popleft()
        self._count -= 1
        if not self._count:
            self._rounds, self._last, self._round = {}, {}, 0
        elif not queue:
            del self._rounds[self._round]
            self._round += 1
            self._forget()
        return item

    def _forget(self) -> None:
        """Forget agents whose items were all taken long ago."""
        if len(self._last) > 2 * self._count + 1000:
            self._last = {agent: place for agent, place in self._last.items() if place >= self._round}


class _Ended(_Named, Protocol):
    @property
    def ended(self) -> bool: ...


Passing = TypeVar("Passing", bound=_Ended)


class AgentLimit(Generic[Passing]):
    """Lets at most `limit` items of an agent through at once; the others wait here, in order. 0: no limit.

    An item that ends while it waits is skipped when its turn comes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._through: dict[str, set[int]] = {}
        self._waiting: dict[str, deque[Passing]] = {}

    def enter(self, items: Sequence[Passing]) -> Sequence[Passing]:
        """Those of `items` that may go on now; the others are kept until `leave` gives them."""
        if not self._limit:
            return items
        free = []
        for item in items:
            inside = self._through.setdefault(item.agent, set())
            if len(inside) < self._limit:
                inside.add(id(item))
                free.append(item)
            else:
                self._waiting.setdefault(item.agent, deque()).append(item)
        return free

    def leave(self, item: Passing) -> Passing | None:
        """An item is over; the one that takes its place, if any waits and it had got through."""
        inside = self._through.get(item.agent)
        if inside is None or id(item) not in inside:
            return None
        inside.discard(id(item))
        queue = self._waiting.get(item.agent)
        while queue:
            following = queue.popleft()
            if not queue:
                del self._waiting[item.agent]
            if not following.ended:
                inside.add(id(following))
                return following
        if not inside:
            del self._through[item.agent]
        return None
