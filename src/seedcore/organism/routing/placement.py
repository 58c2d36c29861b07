"""Agents to hosts: rendezvous hashing with a bound on how many one host gets.

Every (agent, host) pair has a score that nobody chooses; an agent lives on the host of its highest score that has
room. When a host goes, its agents move, and few others; when it comes back, they come back. Two replicas agree.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def keys_of(names: Sequence[str]) -> Keys:
    """A 64-bit number for each name, shape (n,)."""
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def place(agents: Keys, hosts: Sequence[str]) -> Places:
    """The place in `hosts` of each agent, shape (n,); no host gets more than ceil(n / hosts).

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
    homeless = np.arange(len(agents))
    while len(homeless):
        best, score = _best(agents[homeless], host_keys, np.flatnonzero(room > 0))
        # Those who want a host most get its room, whatever the order that agents come in.
        order = np.lexsort((agents[homeless], ~score, best))
        wanted = best[order]
        rank = np.arange(len(wanted)) - np.searchsorted(wanted, wanted)
        accepted = rank < room[wanted]
        home[homeless[order[accepted]]] = wanted[accepted]
        room -= np.bincount(wanted[accepted], minlength=len(hosts))
        homeless = homeless[order[~accepted]]
    return home


def choose_node(nodes: Sequence[str], organ: str, taken: Mapping[str, tuple[str, str]]) -> str | None:
    """The node for a new host: the one with the fewest hosts of its organ, then with the fewest of all.

    Args:
        nodes: those that have what the host needs.
        organ: the host's.
        taken: organ and node of every host that there is.
    """
    own = Counter(node for other, node in taken.values() if other == organ)
    every = Counter(node for _, node in taken.values())
    return min(nodes, key=lambda node: (own[node], every[node], node), default=None)


def _best(agents: Keys, host_keys: Keys, open_hosts: Places) -> tuple[Places, Keys]:
    """Each agent's best open host and its score. One host after the other: never a matrix of agents by hosts."""
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
