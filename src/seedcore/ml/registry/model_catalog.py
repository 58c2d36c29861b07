"""Describes stored models in the wire format: lists them, and gives one version's details."""

from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml import Column, ListModelsResponse, ModelInfo, ModelQuery, ModelRef, ModelSchema, ModelSummary


def list_models(store: ModelStore) -> ListModelsResponse:
    """All names with their versions; details are those of the newest version."""
    readable, broken = store.newest()
    models = [
        ModelSummary(
            name=manifest.name,
            latest=manifest.version,
            versions=store.versions(manifest.name),
            task=manifest.task,
            label_column=manifest.label_column,
            metrics=manifest.metrics,
            created_at=manifest.created_at,
        )
        for manifest in readable
    ]
    return ListModelsResponse(models=models, total_count=len(models), broken=broken)


def model_info(store: ModelStore, query: ModelQuery) -> ModelInfo:
    """All that is known about one version; the newest unless the query names one.

    Raises:
        NotFoundError: there is no such model or version.
        ConflictError: its manifest is damaged.
    """
    manifest = store.manifest(query.name, query.version or store.latest(query.name))
    stored = manifest.model_dump(include=set(ModelInfo.model_fields) & set(ModelManifest.model_fields))
    return ModelInfo(**stored, versions=store.versions(query.name), model_schema=schema_of(manifest))


def schema_of(manifest: ModelManifest) -> ModelSchema:
    """What the model takes and answers."""
    return ModelSchema(
        features=manifest.columns or [Column(name=name) for name in manifest.features],
        label_column=manifest.label_column,
        label_type=manifest.label_kind,
        labels=manifest.labels or None,
        task=manifest.task,
    )


def reference_to(manifest: ModelManifest) -> ModelRef:
    """Name and version of the model."""
    return ModelRef(name=manifest.name, version=manifest.version)
