"""What a model's answer lost once the truth is known: losses in [0, 1], and how well its probabilities fitted."""

import math
from collections.abc import Mapping

from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.schemas.ml.models import LabelKind

Answer = Mapping[str, object]
"""`{prediction, probabilities?}`, as `seedcore.predictions` keeps it."""

MAX_LABEL = 1_000
"""Characters of a text label."""


def label_problem(label: object, kind: LabelKind) -> str | None:
    """Why `label` cannot be true of a model with labels of this kind; None: it can."""
    if kind == "boolean":
        return None if isinstance(label, bool) else "must be true or false, as the model's labels are"
    if kind == "string":
        if not isinstance(label, str):
            return "must be text, as the model's labels are"
        if "\0" in label or len(label) > MAX_LABEL or not _encodable(label):
            return f"must be text of at most {MAX_LABEL} characters without U+0000"
        return None
    if isinstance(label, bool) or not isinstance(label, int | float) or not -1e300 < label < 1e300:
        return "must be a number, as the model's labels are"
    if kind == "integer" and label != int(label):
        return "must be a whole number, as the model's labels are"
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def loss(answer: Answer | None, label: object, manifest: ModelManifest) -> float:
    """0 for right and 1 for wrong; of a regression the error as a part of `loss_scale`, at most 1. No answer: 1."""
    if answer is None:
        return 1.0
    said = answer.get("prediction")
    if manifest.task != "regression":
        return 0.0 if said == label else 1.0
    if not isinstance(said, int | float) or not isinstance(label, int | float) or not math.isfinite(said):
        return 1.0
    scale = manifest.loss_scale
    error = abs(float(said) - float(label))
    if scale is None or scale <= 0.0:
        # Without a scale of its own, the size of the truth is one: 100 % off is a loss of 1.
        scale = max(abs(float(label)), 1e-9)
    return min(error / scale, 1.0)


def label_name(label: object) -> str:
    """The key of a label among `probabilities`."""
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def probabilities(answer: Answer | None) -> Mapping[str, float] | None:
    """Those of an answer; None where it has none."""
    found = None if answer is None else answer.get("probabilities")
    return found if isinstance(found, Mapping) and found else None


def brier(answer: Answer | None, label: object) -> float | None:
    """Half the squared distance of the probabilities to the truth, in [0, 1] (Brier 1950); None if there are none."""
    given = probabilities(answer)
    if given is None:
        return None
    true = label_name(label)
    distance = sum((p - (name == true)) ** 2 for name, p in given.items()) + (0.0 if true in given else 1.0)
    return min(max(distance / 2.0, 0.0), 1.0)
