"""Describes stored models in the wire format: lists them, and gives one version's details."""

from dataclasses import dataclass

from seedcore.ml.registry.aliases import ModelAliases
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ManifestStamp, ModelStore
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


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version that is stored now: its number, all versions of its name, and the identity of its manifest."""

    version: int
    versions: list[int]
    stamp: ManifestStamp


def find_version(store: ModelStore, name: str, version: int | None) -> FoundVersion:
    """A version, the newest unless one is named.

    Raises:
        NotFoundError: there is no such model or version.
    """
    number = version or store.latest(name)
    return FoundVersion(number, store.versions(name), store.stamp(name, number))


def describe_version(store: ModelStore, name: str, version: int) -> ModelInfo:
    """What is stored of one version and never changes; `versions` and `aliases` are left empty.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: its manifest is damaged.
    """
    manifest = store.manifest(name, version)
    stored = manifest.model_dump(include=set(ModelInfo.model_fields) & set(ModelManifest.model_fields))
    return ModelInfo(**stored, versions=[], model_schema=schema_of(manifest), aliases=None)


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
