"""Whether one version can answer the requests that another one answers. Pure."""

from collections.abc import Sequence

from seedcore.ml.registry.model_manifest import ModelManifest

MAX_NAMED = 10


def why_not_replaceable(champion: ModelManifest, candidate: ModelManifest) -> str | None:
    """Why `candidate` cannot take the place of `champion`; None: it can, as far as their manifests say."""
    if (champion.task == "regression") != (candidate.task == "regression"):
        return f"it does {candidate.task}, the champion does {champion.task}"
    if champion.label_kind != candidate.label_kind:
        return f"its labels are of the kind {candidate.label_kind}, the champion's are {champion.label_kind}"
    if gone := [label for label in champion.labels if label not in candidate.labels]:
        return f"it does not know the labels {_named(gone)}"
    if unknown := [name for name in candidate.features if name not in champion.features]:
        return f"it needs the columns {_named(unknown)}, which requests do not have"
    if missing := [name for name in champion.features if name not in candidate.features]:
        return f"it does not take the columns {_named(missing)}, which requests have"
    kinds = {column.name: column.type for column in champion.columns}
    if other := [column.name for column in candidate.columns if kinds.get(column.name, column.type) != column.type]:
        return f"the columns {_named(other)} are of another type"
    return None


def _named(values: Sequence[object]) -> str:
    more = f" and {len(values) - MAX_NAMED} more" if len(values) > MAX_NAMED else ""
    return ", ".join(str(value)[:60] for value in values[:MAX_NAMED]) + more
