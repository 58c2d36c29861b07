"""Rebalancing: which host to move because another node has fewer of its organ. Pure, but for what it remembers."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

MOVE_AFTER_S, MAX_MOVE_PAUSE_S = 60.0, 3600.0
"""An organ that is spread unevenly for MOVE_AFTER_S has a host moved. When that does not help, as where the other node
is full of other work, the pause before the next move doubles."""


@dataclass(slots=True)
class _Imbalance:
    since: float
    pause_s: float = MOVE_AFTER_S


@dataclass(slots=True)
class Rebalancer:
    """Chooses hosts to move. Times are of a monotonic clock that the caller reads."""

    _imbalances: dict[str, _Imbalance] = field(default_factory=dict)

    def next_move(self, organ: str, hosts: Mapping[str, str], nodes: Collection[str], now: float) -> str | None:
        """The host to move now, None when there is none: on the most crowded node, the one whose name sorts last.

        Args:
            organ: the organ of the hosts.
            hosts: the node of each host; all are alive, and their number is the desired one.
            nodes: those with the resources that a host of the organ needs.
            now: seconds.
        """
        count = Counter(hosts.values())
        fewest = min((count[node] for node in nodes), default=0)
        crowded = max(count, key=lambda node: (count[node], node), default=None)
        if crowded is None or not nodes or count[crowded] - fewest < 2:
            self._imbalances.pop(organ, None)
            return None
        imbalance = self._imbalances.setdefault(organ, _Imbalance(now))
        if now - imbalance.since < imbalance.pause_s:
            return None
        imbalance.since, imbalance.pause_s = now, min(2 * imbalance.pause_s, MAX_MOVE_PAUSE_S)
        return max(host for host, node in hosts.items() if node == crowded)
