"""Agents in columns: an array for each number, an encoded piece of JSON for each agent."""

import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import orjson

from seedcore.fleet.agent_reads import AgentBatch
from seedcore.pricing.rates import RateEstimate

Ints = npt.NDArray[np.int64]
_NUMBERS = {"running": np.int64, "queued_s": np.float64, "completed": np.int64, "failed": np.int64}
_MIX = np.uint64(0x9E3779B97F4A7C15)
_INITIAL_CAPACITY = 256


class OrganSums(TypedDict):
    """The living agents of an organ, and their numbers summed."""

    agents: int
    running: int
    queued_s: float
    completed: int
    failed: int


class NameIndex:
    """Recurring names as small numbers."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of `name`; a new one for a new name."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number

    def known(self, names: Iterable[str]) -> list[int]:
        """The numbers of those of `names` that have one."""
        return [self._numbers[name] for name in names if name in self._numbers]


class AgentColumns:
    """Every agent that was ever written, a row each.

    `written` is this process's monotonic time at which its host last wrote the agent, `change` the transaction that
    did, `living` whether it has a host: an agent without one no longer belongs to an organ.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.organs, self.hosts, self.stages = NameIndex(), NameIndex(), NameIndex()
        self._row: dict[str, int] = {}
        self._kinds: dict[str, npt.DTypeLike] = {
            **_NUMBERS,
            "organ": np.int32,
            "host": np.int32,
            "stage": np.int32,
            "written": np.float64,
            "change": np.int64,
            "name": np.uint64,
            "living": np.bool_,
        }
        self._columns: dict[str, npt.NDArray[Any]] = {
            n: np.zeros(_INITIAL_CAPACITY, kind) for n, kind in self._kinds.items()
        }
        self._rates: list[str] = []
        self._roles: list[str | None] = []
        self._names: list[bytes] = []
        self._pieces: list[bytes | None] = []
        self._sorted: Ints | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """A column, shape (agents,)."""
        return self._columns[column][: len(self.ids)]

    def update(self, batch: AgentBatch) -> Ints:
        """Write rows as the database gives them; returns their indices, shape (n,)."""
        rows = np.array([self._index_of(agent_id) for agent_id in batch.id], dtype=np.int64)
        now = time.monotonic()
        columns = self._columns
        columns["running"][rows] = batch.running
        columns["queued_s"][rows] = batch.queued_s
        columns["completed"][rows] = batch.completed
        columns["failed"][rows] = batch.failed
        columns["organ"][rows] = [self.organs.number(name) for name in batch.organ]
        columns["host"][rows] = [self.hosts.number(name) for name in batch.host]
        columns["stage"][rows] = [self.stages.number(name) for name in batch.lifecycle]
        columns["written"][rows] = now - np.array(batch.age_s, dtype=np.float64)
        columns["change"][rows] = batch.change
        columns["living"][rows] = [name != "" for name in batch.host]
        for row, rates, roles in zip(rows.tolist(), batch.rates, batch.roles, strict=True):
            self._rates[row], self._roles[row], self._pieces[row] = rates, roles, None
        return rows

    def _index_of(self, agent_id: str) -> int:
        row = self._row.get(agent_id)
        if row is None:
            row = self._row[agent_id] = len(self.ids)
            if row == len(self._columns["change"]):
                grown = {n: np.zeros(2 * row, kind) for n, kind in self._kinds.items()}
                for name, column in self._columns.items():
                    grown[name][:row] = column
                self._columns = grown
            self.ids.append(agent_id)
            self._rates.append("{}")
            self._roles.append(None)
            self._names.append(orjson.dumps(agent_id) + b":{")
            self._pieces.append(None)
            self._columns["name"][row] = int.from_bytes(blake2b(agent_id.encode(), digest_size=8).digest(), "big")
            self._sorted = None
        return row

    def choose(self, agent_ids: Sequence[str] | None = None, organ_ids: Sequence[str] | None = None) -> Ints:
        """Indices of the chosen living agents, in the order of their ids; unknown ids are left out."""
        if agent_ids is None:
            rows = self._order()
        else:
            rows = np.array([self._row[i] for i in sorted(set(agent_ids)) if i in self._row], dtype=np.int64)
        chosen: Ints = rows[self["living"][rows]]
        if organ_ids is not None:
            chosen = chosen[np.isin(self["organ"][chosen], self.organs.known(organ_ids))]
        return chosen

    def _order(self) -> Ints:
        if self._sorted is None:
            self._sorted = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), dtype=np.int64)
        return self._sorted

    def fingerprint(self, rows: Ints) -> int:
        """Identifies the content of these agents: equal in every replica for equal content."""
        mixed = (self["name"][rows] ^ self["change"][rows].astype(np.uint64)) * _MIX
        return int(np.sum(mixed ^ (mixed >> np.uint64(29)), dtype=np.uint64)) ^ len(rows)

    def encode(self, rows: Ints, *, vectors: bool = False) -> bytes:
        """These agents as a JSON object by id (see `schemas.state.AgentState`); `vectors`: with their roles."""
        if not len(rows):
            return b"{}"
        ages = np.round(time.monotonic() - self["written"][rows], 3)
        texts = orjson.dumps(ages, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
        pieces, names = self._pieces, self._names
        indices = rows.tolist()
        encoded = [pieces[row] or self._encode(row) for row in indices]
        if vectors:
            encoded = [self._vectors(row) + piece for piece, row in zip(encoded, indices, strict=True)]
        # For each agent its id, the rest, its age and the end; all joined in one go.
        joined = [b"},"] * (4 * len(indices))
        joined[0::4] = [names[row] for row in indices]
        joined[1::4] = encoded
        joined[2::4] = texts
        joined[-1] = b"}}"
        return b"{" + b"".join(joined)

    def _encode(self, row: int) -> bytes:
        """All of an agent but its id and vectors, up to its age."""
        columns = self._columns
        fields = {
            "organ": self.organs.names[columns["organ"][row]],
            "host": self.hosts.names[columns["host"][row]],
            "lifecycle": self.stages.names[columns["stage"][row]],
            **{name: columns[name][row].item() for name in _NUMBERS},
            "rates": _rates(self._rates[row]),
        }
        piece = orjson.dumps(fields)[1:-1] + b',"age_s":'
        self._pieces[row] = piece
        return piece

    def _vectors(self, row: int) -> bytes:
        """The roles, where the agent's organ declares any."""
        roles = self._roles[row]
        return b"" if roles is None else b'"roles":' + roles.encode() + b","

    def sums(self) -> dict[str, OrganSums]:
        """Living agents and their numbers summed, by organ."""
        living = self["living"]
        organ = self["organ"][living]
        count = len(self.organs.names)
        agents = np.bincount(organ, minlength=count)
        totals = {name: np.bincount(organ, self[name][living], count).astype(kind) for name, kind in _NUMBERS.items()}
        return {
            name: OrganSums(
                agents=int(agents[n]),
                running=totals["running"][n].item(),
                queued_s=totals["queued_s"][n].item(),
                completed=totals["completed"][n].item(),
                failed=totals["failed"][n].item(),
            )
            for n, name in sorted(enumerate(self.organs.names), key=lambda item: item[1])
            if agents[n]
        }


def _rates(stored: str) -> dict[str, dict[str, float]]:
    rates = {}
    for name, values in orjson.loads(stored).items():
        estimate = RateEstimate(**values)
        rates[name] = {
            "mean_s": round(estimate.mean_seconds(), 6),
            "success": round(estimate.success(), 6),
            "outcomes": round(estimate.weight, 3),
        }
    return rates
