"""Operations on stored models: predict with them, list, describe, import and delete them."""

import asyncio
from collections.abc import Mapping, Sequence

import orjson

from seedcore.errors import SeedCoreError
from seedcore.ml.parts import MLParts
from seedcore.ml.registry import model_catalog, model_import
from seedcore.ml.registry.aliases import ModelAliases
from seedcore.ml.registry.model_uses import delete_versions
from seedcore.ml.registry.replica_view import ReplicaView
from seedcore.schemas.ml import model_registry as registry
from seedcore.schemas.ml import models as schemas
from seedcore.telemetry.logs import get_logger
from seedcore.web.service_base import Operation

SCHEMA_KEPT_S = 3600.0
"""How long the description of a version is kept in working memory; it does not change."""


class ModelOperations:
    """Predicts with stored models, and manages them."""

    def __init__(self, parts: MLParts) -> None:
        self._store, self._predictor, self._database = parts.store, parts.predictor, parts.database
        self._aliases, self._working = parts.aliases, parts.working
        self._view = ReplicaView(parts.store, parts.aliases, parts.predictor.models)
        self._log = get_logger("seedcore.MLService")
        self._imports = asyncio.Semaphore(1)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        s = schemas
        return (
            Operation(
                "POST",
                "/xgboost/predict",
                self.predict,
                s.PredictRequest,
                summary="Predict one row",
                returns=s.PredictResponse,
            ),
            Operation(
                "POST",
                "/xgboost/batch_predict",
                self.batch_predict,
                s.BatchPredictRequest,
                returns=s.BatchPredictResponse,
            ),
            Operation("GET", "/xgboost/list_models", self.list_models, summary="List the models"),
            Operation("GET", "/xgboost/model_info", self.model_info, registry.ModelQuery, summary="Describe a model"),
            Operation("DELETE", "/xgboost/delete_model", self.delete_model, registry.DeleteRequest),
            Operation("POST", "/xgboost/load_model", self.load_model, registry.LoadRequest, summary="Import a model"),
            Operation("POST", "/xgboost/refresh_model", self.refresh_model, registry.RefreshRequest),
        )

    async def start(self) -> None:
        """Note which versions are there, for the first `refresh_model`."""
        await self._view.begin()

    def health(self) -> Mapping[str, object]:
        """`{loaded, cache_bytes, evicted, aliases_stale?}`; the last says why aliases may be old."""
        models = self._predictor.models
        facts: dict[str, object] = {"loaded": len(models), "cache_bytes": models.size, "evicted": models.evicted}
        return facts if self._aliases.stale is None else facts | {"aliases_stale": self._aliases.stale}

    async def predict(self, request: schemas.PredictRequest) -> bytes:
        """The prediction for one row; the champion answers unless a version or alias is named, or the newest."""
        row, model = await self._predictor.predict_one(
            request.name, request.version, request.features, request.alias, contributions=request.contributions
        )
        answer: dict[str, object] = {"prediction": row.prediction, "probabilities": row.probabilities}
        return orjson.dumps(answer | _extras(row) | {"model": model.reference.model_dump()})

    async def batch_predict(self, request: schemas.BatchPredictRequest) -> bytes:
        """One answer a row, in order; a row that does not fit has an `error` and does not affect the others."""
        rows, model = await self._predictor.predict_many(
            request.name, request.version, request.rows, request.alias, contributions=request.contributions
        )
        predictions = [
            {"prediction": row.prediction, "probabilities": row.probabilities, "error": row.error} | _extras(row)
            for row in rows
        ]
        return orjson.dumps({"predictions": predictions, "model": model.reference.model_dump()})

    async def list_models(self) -> registry.ListModelsResponse:
        """All names with their versions and aliases."""
        return await asyncio.to_thread(model_catalog.list_models, self._store, await self._known_aliases())

    async def model_info(self, request: registry.ModelQuery) -> registry.ModelInfo:
        """All that is known about one version: the one that would answer, unless a version or alias is named."""
        aliases = await self._known_aliases()
        version = request.version
        if version is None and request.alias in ("champion", "candidate"):
            version = await self._aliases.resolve(request.name, None, request.alias)
        found = await asyncio.to_thread(model_catalog.find_version, self._store, request.name, version)

        async def described() -> bytes:
            info = await asyncio.to_thread(model_catalog.describe_version, self._store, request.name, found.version)
            return info.model_dump_json().encode()

        # A version never changes; one that was deleted and made again has another stamp.
        key = f"{request.name}/{found.version}/{found.stamp.inode}/{found.stamp.modified_ns}"
        kept = await self._working.get_or_make("model_schemas", key, described, SCHEMA_KEPT_S)
        info = registry.ModelInfo.model_validate_json(kept)
        known = None if aliases is None else dict(aliases.of(request.name))
        return info.model_copy(update={"versions": found.versions, "aliases": known})

    async def delete_model(self, request: registry.DeleteRequest) -> registry.DeleteResponse:
        """Delete one version, or all of a name; what an alias, a promotion or a running job uses stays (409)."""
        deleted = await delete_versions(self._database, self._store, request.name, request.version, force=request.force)
        for version in deleted:
            self._predictor.models.drop(request.name, version)
        self._log.info("models deleted", model=request.name, versions=deleted)
        return registry.DeleteResponse(name=request.name, deleted=deleted)

    async def load_model(self, request: registry.LoadRequest) -> registry.LoadResponse:
        """Store a model file of the folder `.import` as the next version, after a process of its own has checked it."""
        async with self._imports:
            manifest = await asyncio.to_thread(
                model_import.import_model, self._store, request.name, request.path, request.labels
            )
        self._log.info("model imported", model=manifest.name, version=manifest.version, sha256=manifest.sha256)
        return registry.LoadResponse(
            name=manifest.name,
            version=manifest.version,
            sha256=manifest.sha256,
            size_bytes=manifest.size_bytes,
            model_schema=model_catalog.schema_of(manifest),
        )

    async def refresh_model(self, request: registry.RefreshRequest) -> registry.RefreshResponse:
        """Look at the model folder and at PostgreSQL again; what changed for this replica since it last looked."""
        return await self._view.refresh(request.name)

    async def _known_aliases(self) -> ModelAliases | None:
        """None: PostgreSQL is away, and they have never been read."""
        try:
            return await self._aliases.current()
        except SeedCoreError as error:
            self._log.warning("aliases are not known", reason=error.detail)
            return None


def _extras(row: schemas.RowPrediction) -> dict[str, object]:
    extras = {"contributions": row.contributions, "warnings": row.warnings}
    return {name: value for name, value in extras.items() if value is not None}
