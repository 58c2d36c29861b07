"""The process that loads a foreign model: its bytes on standard input; facts and the model saved again on the output.

`python -m seedcore.ml.registry.import_probe`. It ends with REFUSED and one line on standard error where it can judge;
XGBoost may end it in any other way.
"""

import json
import resource
import sys
from typing import Any

import numpy as np

from seedcore.telemetry.lean_imports import without

MAX_BYTES = 64 * 1024 * 1024
"""The largest file."""
TIME_LIMIT_S = 60.0
REFUSED = 65
MAX_FEATURES, MAX_CLASSES, MAX_TREES, MAX_NODES = 4096, 256, 100_000, 5_000_000
MAX_DEPTH = 512
"""Contributions go down the trees by recursion."""
_MEMORY, _CPU_S = 6 * 1024**3, 45
_PROBES = 64
_BOOSTERS = ("gbtree", "dart")
_TYPES = {"float": "q", "q": "q", "int": "q", "i": "i"}


class RefusedModelError(Exception):
    """Why a file is not taken, for people."""


def main() -> int:
    """Judge the model on standard input."""
    _limit()
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        facts, ubj = judge(content)
    except RefusedModelError as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + ubj)
    return 0


def _limit() -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _CPU_S),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def judge(content: bytes) -> tuple[dict[str, object], bytes]:
    """(facts as `ProbedModel` has them, the model in UBJSON).

    Raises:
        RefusedModelError: it is no model, or one that cannot be served.
    """
    with without("sklearn"):
        import xgboost

    if not (content.startswith(b"{") and content.rstrip().endswith(b"}")):
        raise RefusedModelError("is not one complete JSON or UBJSON object")
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(content))
        ubj = bytes(booster.save_raw("ubj"))
        learner = json.loads(bytes(booster.save_raw("json")))["learner"]
        facts = _facts(booster, learner)
        # What is stored is what was saved just now, so that is what must answer.
        again = xgboost.Booster({"nthread": 1})
        again.load_model(bytearray(ubj))
        _try(again, facts)
    except (xgboost.core.XGBoostError, ValueError, LookupError, TypeError, MemoryError) as error:
        reason = str(error).split("\n")[0][:200]
        raise RefusedModelError(f"is no model that XGBoost can use ({type(error).__name__}: {reason})") from None
    return facts, ubj


def _facts(booster: Any, learner: dict[str, Any]) -> dict[str, object]:
    import xgboost

    features = booster.num_features()
    if not 1 <= features <= MAX_FEATURES:
        raise RefusedModelError(f"takes {features} features, must take 1 to {MAX_FEATURES}")
    boosting = learner["gradient_booster"]
    if boosting["name"] not in _BOOSTERS:
        raise RefusedModelError(f"is of the kind {boosting['name']!r}; allowed: {', '.join(_BOOSTERS)}")
    task, classes = _task(learner)
    names = learner.get("feature_names") or [f"f{i}" for i in range(features)]
    if (
        len(names) != features
        or len(set(names)) != features
        or not all(n.strip() and len(n) <= 200 and "\0" not in n for n in names)
    ):
        raise RefusedModelError("must have different feature names of 1 to 200 characters, one a feature")
    given = learner.get("feature_types") or ["float"] * features
    if unknown := [name for name, kind in zip(names, given, strict=True) if kind not in _TYPES]:
        raise RefusedModelError(f"has categories, whose texts the file does not have, in: {', '.join(unknown[:10])}")
    gbtree = boosting.get("gbtree", boosting)["model"]
    _check_trees(gbtree, features, classes if task == "multiclass" else 1)
    return {
        "task": task,
        "features": names,
        "types": [_TYPES[kind] for kind in given],
        "classes": classes,
        "rounds": booster.num_boosted_rounds(),
        "xgboost_version": xgboost.__version__,
    }


def _task(learner: dict[str, Any]) -> tuple[str, int]:
    objective = learner["objective"]["name"]
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        raise RefusedModelError("answers several targets; allowed is one")
    if objective == "binary:logistic":
        return "binary", 2
    if objective == "multi:softprob":
        classes = int(learner["learner_model_param"]["num_class"])
        if not 2 <= classes <= MAX_CLASSES:
            raise RefusedModelError(f"has {classes} classes, must have 2 to {MAX_CLASSES}")
        return "multiclass", classes
    if objective.startswith("reg:") or objective == "count:poisson":
        return "regression", 0
    raise RefusedModelError(
        f"has the objective {objective!r}; allowed: binary:logistic, multi:softprob, count:poisson and reg:*"
    )


def _check_trees(model: dict[str, Any], features: int, groups: int) -> None:
    """Every tree is a tree, within bounds: XGBoost does not look when it predicts."""
    trees, info = model["trees"], model["tree_info"]
    if not 1 <= len(trees) <= MAX_TREES or len(info) != len(trees):
        raise RefusedModelError(f"has {len(trees)} trees, must have 1 to {MAX_TREES}, each with its class")
    if any(not 0 <= group < groups for group in info):
        raise RefusedModelError("has a tree of a class that there is not")
    nodes = 0
    for number, tree in enumerate(trees):
        size = len(tree["left_children"])
        nodes += size
        if nodes > MAX_NODES:
            raise RefusedModelError(f"has more than {MAX_NODES} nodes")
        if not _is_tree(tree, size, features):
            raise RefusedModelError(f"has a tree (number {number}) that is none: its nodes do not fit together")


def _is_tree(tree: dict[str, Any], size: int, features: int) -> bool:
    columns = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
    if size < 1 or any(len(tree[column]) != size for column in columns) or tree.get("categories_nodes"):
        return False
    left, right = np.asarray(tree["left_children"], dtype=np.int64), np.asarray(tree["right_children"], dtype=np.int64)
    inner = left >= 0
    if not np.array_equal(inner, right >= 0) or np.any(left < -1) or np.any(right < -1):
        return False
    children = np.concatenate([left[inner], right[inner]])
    # Every node is a child at most once, and the root of none: from the root on there is no circle.
    children = np.concatenate([left[inner], right[inner]])
    if np.any(children >= size) or np.any(children == 0) or len(np.unique(children)) != len(children):
        return False
    split = np.asarray(tree["split_indices"], dtype=np.int64)
    if np.any(split[inner] < 0) or np.any(split[inner] >= features):
        return False
    level = np.zeros(1, dtype=np.int64)
    for _ in range(MAX_DEPTH):
        level = level[inner[level]]
        if not len(level):
            return True
        level = np.concatenate([left[level], right[level]])
    return False


def _try(booster: Any, facts: dict[str, Any]) -> None:
    features = len(facts["features"])
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(_PROBES, features)) * np.logspace(-3, 6, _PROBES)[:, None]
    matrix = np.concatenate([spread, np.zeros((1, features)), np.full((1, features), np.nan)]).astype(np.float32)
    answers = np.asarray(booster.inplace_predict(matrix, missing=np.nan))
    wanted = (len(matrix), facts["classes"]) if facts["task"] == "multiclass" else (len(matrix),)
    if answers.shape != wanted:
        raise RefusedModelError(f"answers {answers.shape[1:]} numbers a row, its objective says {wanted[1:]}")
    if not np.all(np.isfinite(answers)):
        raise RefusedModelError("answers numbers that are not finite")


if __name__ == "__main__":
    sys.exit(main())
