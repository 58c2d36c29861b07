"""What tests of the gate share: stored models, tasks that ended, predictions and what was true of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from seedcore.ml.gate.keeper import GateKeeper
from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.registry.aliases import AliasCache
from seedcore.ml.registry.model_store import ModelStore
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database

NAME = "m"
UBJ = b"{}"
FACTS: dict[str, Any] = {
    "task": "binary",
    "features": ["age", "city"],
    "label_column": "y",
    "label_kind": "integer",
    "labels": [0, 1],
    "params": {},
    "metrics": {},
    "n_rows": 1,
    "xgboost_version": "3",
    "columns": [{"name": "age"}, {"name": "city", "type": "category", "categories": ["Bern", "Kyiv"]}],
}


def store_version(store: ModelStore, version: int, name: str = NAME, **changes: object) -> None:
    """Files of a version. The gate reads manifests alone, so the model file is no model."""
    folder = store.root / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.ubj").write_bytes(UBJ)
    manifest = FACTS | {
        "name": name,
        "version": version,
        "created_at": "2026-01-01T00:00:00Z",
        "sha256": sha256(UBJ).hexdigest(),
        "size_bytes": len(UBJ),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


@dataclass
class MeasuredEnergy:
    """Stands in for the Energy service: says what it was asked, or that it is away."""

    asked: list[tuple[datetime, str, float]] = field(default_factory=list)

    async def change(self, since: datetime, type_: str, window_s: float) -> Mapping[str, object]:
        self.asked.append((since, type_, window_s))
        return {"enough": False, "tasks_before": 0, "tasks_after": 0}


@dataclass
class Gate:
    """A gate on a database of its own."""

    database: Database
    store: ModelStore
    promotions: Promotions
    aliases: AliasCache
    keeper: GateKeeper
    energy: MeasuredEnergy

    async def fetch(self, statement: str, *given: object) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(statement, *given))

    async def value(self, statement: str, *given: object) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(statement, *given)

    async def versions(self, name: str = NAME) -> dict[str, int]:
        """{alias: version}."""
        found = await self.fetch("select alias, version from seedcore.model_aliases where name = $1", name)
        return {row["alias"]: row["version"] for row in found}

    async def promotion(self, name: str = NAME) -> dict[str, Any]:
        """The newest promotion."""
        found = await self.fetch("select * from seedcore.promotions where name = $1 order by id desc limit 1", name)
        return {
            key: json.loads(value) if key in ("evidence", "state", "terms") else value
            for key, value in found[0].items()
        }

    async def predict(
        self,
        answers: Sequence[tuple[int, int | None]],
        *,
        version: int = 1,
        name: str = NAME,
        tasks: Sequence[UUID] | None = None,
    ) -> list[UUID]:
        """Record predictions of (champion's answer, candidate's or None: no shadow) for tasks; their ids."""
        ids = list(tasks or [uuid4() for _ in answers])
        opened = await self.fetch(
            "select id, candidate from seedcore.promotions where name = $1 and status = 'shadowing'", name
        )
        rows = [
            (
                task,
                "default",
                name,
                version,
                json.dumps({"prediction": first, "probabilities": None}),
                [30.0, 1.0],
                0.001,
                opened[0]["id"] if opened and second is not None else None,
                opened[0]["candidate"] if opened and second is not None else None,
                None if second is None else json.dumps({"prediction": second, "probabilities": None}),
                None if second is None else 0.001,
            )
            for task, (first, second) in zip(ids, answers, strict=True)
        ]
        async with self.database.connection() as connection:
            await connection.executemany(
                "insert into seedcore.predictions (task_id, tenant, name, version, answer, features, seconds,"
                " promotion, candidate, candidate_answer, candidate_seconds) "
                " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                rows,
            )
        return ids

    async def tell(self, tasks: Sequence[UUID], label: object = 1, name: str = NAME) -> None:
        """Say what was true of tasks."""
        async with self.database.connection() as connection:
            await connection.executemany(
                "insert into seedcore.outcomes (task_id, tenant, name, label) values ($1, 'default', $2, $3)",
                [(task, name, json.dumps(label)) for task in tasks],
            )

    async def shadowing(self, candidate: int = 2) -> None:
        """Version 1 answers, and `candidate` shadows."""
        await self.promotions.promote(NAME, 1)
        await self.promotions.promote(NAME, candidate)


@asynccontextmanager
async def gate_on(settings: Settings, **changes: object) -> AsyncIterator[Gate]:
    """A gate with three stored versions."""
    assert settings.pg_dsn is not None
    given = load_settings(data_dir=settings.data_dir, pg_dsn=settings.pg_dsn.get_secret_value(), **changes)
    database, store, energy = Database(given, size=4), ModelStore(given.models_dir), MeasuredEnergy()
    store.prepare()
    for version in (1, 2, 3):
        store_version(store, version)
    aliases, promotions = AliasCache(database), Promotions(given, store, database)
    gate = Gate(database, store, promotions, aliases, GateKeeper(promotions, aliases, energy), energy)
    try:
        yield gate
    finally:
        await aliases.aclose()
        await database.aclose()


async def check_servable(gate: Gate, name: str = NAME) -> None:
    """One champion, which is stored; a candidate only while a promotion is open, and the same one."""
    aliases = await gate.versions(name)
    assert aliases["champion"] in await asyncio.to_thread(gate.store.versions, name)
    opened = await gate.fetch(
        "select candidate, champion from seedcore.promotions where name = $1 and status = 'shadowing'", name
    )
    assert len(opened) <= 1
    assert aliases.get("candidate") == (opened[0]["candidate"] if opened else None)
    if opened:
        assert opened[0]["champion"] == aliases["champion"]
