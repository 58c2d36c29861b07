"""Which host is to move because a node that came later has fewer of its organ: pure, but for what it remembers."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

MOVE_AFTER_S, MOVE_AT_MOST_EVERY_S = 60.0, 3600.0
"""An organ that is spread unevenly for so long has a host moved. When that changes nothing, as where the other node is
full of other work, the next one waits twice as long."""


@dataclass(slots=True)
class _Uneven:
    since: float
    pause_s: float = MOVE_AFTER_S


@dataclass(slots=True)
class Spreading:
    """Times are of a monotonic clock that the caller reads."""

    _uneven: dict[str, _Uneven] = field(default_factory=dict)

    def next(self, organ: str, hosts: Mapping[str, str], nodes: Collection[str], now: float) -> str | None:
        """The host to move now, if any: on the node with most of the organ's hosts, the one whose name comes last.

        Args:
            organ: whose hosts they are.
            hosts: the node of each; all are alive, and as many as there ought to be.
            nodes: those that have what a host of the organ needs.
            now: seconds.
        """
        count = Counter(hosts.values())
        fewest = min((count[node] for node in nodes), default=0)
        crowded = max(count, key=lambda node: (count[node], node), default=None)
        if crowded is None or not nodes or count[crowded] - fewest < 2:
            self._uneven.pop(organ, None)
            return None
        uneven = self._uneven.setdefault(organ, _Uneven(now))
        if now - uneven.since < uneven.pause_s:
            return None
        uneven.since, uneven.pause_s = now, min(2 * uneven.pause_s, MOVE_AT_MOST_EVERY_S)
        return max(host for host, node in hosts.items() if node == crowded)
