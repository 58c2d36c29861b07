"""Agents by columns: one array for each number, one encoded piece of JSON for each agent."""

import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from seedcore.pricing.rates import RateEstimate

Ints = npt.NDArray[np.int64]
_NUMBERS = {"running": np.int64, "queued_s": np.float64, "completed": np.int64, "failed": np.int64}
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FIRST_ROOM = 256


class Names:
    """Names that come again and again, as small numbers."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of `name`, a new one when it is new."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def known(self, names: Iterable[str]) -> list[int]:
        """Numbers of those of `names` that have one."""
        return [self._numbers[name] for name in names if name in self._numbers]


class AgentColumns:
    """Every agent that was ever written, a row each.

    `written` is this process's monotonic time at which its host last wrote the agent, `change` the transaction that
    did, `living` whether it has a host: what lives nowhere, its organ has given up.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.organs, self.hosts, self.stages = Names(), Names(), Names()
        self._row: dict[str, int] = {}
        self._kinds: dict[str, Any] = {
            **_NUMBERS,
            "organ": np.int32,
            "host": np.int32,
            "stage": np.int32,
            "written": np.float64,
            "change": np.int64,
            "name": np.uint64,
            "living": np.bool_,
        }
        self._columns: dict[str, npt.NDArray[Any]] = {n: np.zeros(_FIRST_ROOM, kind) for n, kind in self._kinds.items()}
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

    def put(self, batch: dict[str, list[Any]]) -> Ints:
        """Take over rows as the database gives them, a list for each column; returns their places, shape (n,)."""
        rows = np.array([self._place(agent_id) for agent_id in batch["id"]], dtype=np.int64)
        now = time.monotonic()
        columns = self._columns
        for name in _NUMBERS:
            columns[name][rows] = batch[name]
        columns["organ"][rows] = [self.organs.number(name) for name in batch["organ"]]
        columns["host"][rows] = [self.hosts.number(name) for name in batch["host"]]
        columns["stage"][rows] = [self.stages.number(name) for name in batch["lifecycle"]]
        columns["written"][rows] = now - np.array(batch["age_s"], dtype=np.float64)
        columns["change"][rows] = batch["change"]
        columns["living"][rows] = [name != "" for name in batch["host"]]
        for row, rates, roles in zip(rows.tolist(), batch["rates"], batch["roles"], strict=True):
            self._rates[row], self._roles[row], self._pieces[row] = rates, roles, None
        return rows

    def _place(self, agent_id: str) -> int:
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
        """Places of the living agents asked for, in the order of their ids; unknown ids are left out."""
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
        """The same in every replica for the same content of these agents, and another one for another."""
        mixed = (self["name"][rows] ^ self["change"][rows].astype(np.uint64)) * _MIX
        return int(np.sum(mixed ^ (mixed >> np.uint64(29)), dtype=np.uint64)) ^ len(rows)

    def encode(self, rows: Ints, *, vectors: bool = False) -> bytes:
        """These agents as a JSON object by id (see `schemas.AgentState`); `vectors`: with their roles."""
        if not len(rows):
            return b"{}"
        ages = np.round(time.monotonic() - self["written"][rows], 3)
        texts = orjson.dumps(ages, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
        pieces, names = self._pieces, self._names
        places = rows.tolist()
        encoded = [pieces[row] or self._encode(row) for row in places]
        if vectors:
            encoded = [self._vectors(row) + piece for piece, row in zip(encoded, places, strict=True)]
        # id, the rest, its age and the end, of one agent after the other, joined in one go.
        joined = [b"},"] * (4 * len(places))
        joined[0::4] = [names[row] for row in places]
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
        """What is told on request alone; nothing of an agent whose organ declares no roles."""
        roles = self._roles[row]
        return b"" if roles is None else b'"roles":' + roles.encode() + b","

    def sums(self) -> dict[str, dict[str, Any]]:
        """Living agents and their numbers summed, by organ."""
        living = self["living"]
        organ = self["organ"][living]
        count = len(self.organs.names)
        agents = np.bincount(organ, minlength=count)
        totals = {name: np.bincount(organ, self[name][living], count).astype(kind) for name, kind in _NUMBERS.items()}
        return {
            name: {"agents": int(agents[n]), **{key: total[n].item() for key, total in totals.items()}}
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
