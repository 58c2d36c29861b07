"""Describes stored models in the wire format: lists them, and gives one version's details."""

from seedcore.ml.registry.aliases import ModelAliases
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml.model_registry import ListModelsResponse, ModelInfo, ModelSummary
from seedcore.schemas.ml.models import Column, ModelRef, ModelSchema


def list_models(store: ModelStore, aliases: ModelAliases | None) -> ListModelsResponse:
    """All names with their versions and aliases; details are those of the newest version."""
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
            aliases=None if aliases is None else dict(aliases.of(manifest.name)),
        )
        for manifest in readable
    ]
    return ListModelsResponse(models=models, total_count=len(models), broken=broken)


def model_info(store: ModelStore, name: str, version: int | None, aliases: ModelAliases | None) -> ModelInfo:
    """All that is known about one version; the newest unless one is named.

    Raises:
        NotFoundError: there is no such model or version.
        ConflictError: its manifest is damaged.
    """
    manifest = store.manifest(name, version or store.latest(name))
    stored = manifest.model_dump(include=set(ModelInfo.model_fields) & set(ModelManifest.model_fields))
    known = None if aliases is None else dict(aliases.of(name))
    return ModelInfo(**stored, versions=store.versions(name), model_schema=schema_of(manifest), aliases=known)


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
