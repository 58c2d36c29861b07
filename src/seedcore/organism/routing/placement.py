"""Placement of agents on hosts: rendezvous hashing with a bound on how many one host gets.

Every (agent, host) pair has a score, a hash of both; an agent lives on the host of its highest score that has room.
When a host goes, its agents move, and few others; when it comes back, they move back. All replicas agree.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


def keys_of(names: Sequence[str]) -> Keys:
    """A 64-bit number for each name, shape (n,)."""
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def place(agents: Keys, hosts: Sequence[str]) -> Indices:
    """The index in `hosts` of each agent, shape (n,); no host gets more than ceil(n / hosts).

    Args:
        agents: what `keys_of` gives for the agents' ids.
        hosts: names of the hosts that may have agents; their order does not matter.

    Raises:
        ValueError: there are agents and no host.
    """
    home = np.full(len(agents), -1, dtype=np.int64)
    if not len(agents):
        return home
    if not hosts:
        raise ValueError("there is no host to place agents on")
    host_keys = keys_of(hosts)
    room = np.full(len(hosts), -(-len(agents) // len(hosts)), dtype=np.int64)
    unplaced = np.arange(len(agents))
    while len(unplaced):
        best, score = _best(agents[unplaced], host_keys, np.flatnonzero(room > 0))
        # The highest scores get a host's room, whatever the order of the agents.
        order = np.lexsort((agents[unplaced], ~score, best))
        chosen = best[order]
        rank = np.arange(len(chosen)) - np.searchsorted(chosen, chosen)
        accepted = rank < room[chosen]
        home[unplaced[order[accepted]]] = chosen[accepted]
        room -= np.bincount(chosen[accepted], minlength=len(hosts))
        unplaced = unplaced[order[~accepted]]
    return home


def choose_node(nodes: Sequence[str], organ: str, taken: Mapping[str, tuple[str, str]]) -> str | None:
    """The node for a new host: the one with the fewest hosts of its organ, then with the fewest of all.

    Args:
        nodes: those that have the resources that the host needs.
        organ: the host's.
        taken: organ and node of every existing host.
    """
    own = Counter(node for other, node in taken.values() if other == organ)
    every = Counter(node for _, node in taken.values())
    return min(nodes, key=lambda node: (own[node], every[node], node), default=None)


def _best(agents: Keys, host_keys: Keys, open_hosts: Indices) -> tuple[Indices, Keys]:
    """Each agent's best open host and its score. One host at a time: never a matrix of agents by hosts."""
    best = np.full(len(agents), open_hosts[0], dtype=np.int64)
    score = _mix(agents ^ host_keys[open_hosts[0]])
    for host in open_hosts[1:]:
        other = _mix(agents ^ host_keys[host])
        better = other > score
        best[better], score[better] = host, other[better]
    return best, score


def _mix(x: Keys) -> Keys:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of the result."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Keys = x ^ (x >> np.uint64(31))
    return result
