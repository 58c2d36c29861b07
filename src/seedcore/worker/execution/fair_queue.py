"""Calls that wait on a host: in turns, agent by agent, so that one agent's backlog holds up nobody else's work."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar


class _Named(Protocol):
    @property
    def agent(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


class Turns(Generic[Item]):
    """A queue that gives one item an agent in turn; within an agent, the order is that of arrival.

    Items wait in rounds: an agent's next item goes into the round after its last one, an agent without any into the
    round that is being given out. That costs an item little more than a plain queue does.
    """

    __slots__ = ("_count", "_last", "_round", "_rounds")

    def __init__(self) -> None:
        self._rounds: dict[int, deque[Item]] = {}
        self._last: dict[str, int] = {}
        self._round = self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, items: Iterable[Item]) -> None:
        """Put items behind those of their agents."""
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
            raise IndexError("nothing waits")
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
        """Agents whose items were all given out long ago need not be known."""
        if len(self._last) > 2 * self._count + 1000:
            self._last = {agent: place for agent, place in self._last.items() if place >= self._round}


class _Ended(_Named, Protocol):
    @property
    def ended(self) -> bool: ...


Passing = TypeVar("Passing", bound=_Ended)


class Gate(Generic[Passing]):
    """Lets at most `most` items an agent through at once; the others wait here, in order. 0: no limit.

    An item that ends while it waits is passed over when its turn comes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._through: dict[str, set[int]] = {}
        self._waiting: dict[str, deque[Passing]] = {}

    def enter(self, items: Sequence[Passing]) -> Sequence[Passing]:
        """Those of `items` that may go on now; the others are kept until `leave` gives them."""
        if not self._most:
            return items
        free = []
        for item in items:
            inside = self._through.setdefault(item.agent, set())
            if len(inside) < self._most:
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
