"""The same model in a bare Serve deployment, in the Ray of a running SeedCore, with the same proxy and options.

`python -m benchmarks.ml.bare_serve MODEL`: deploys it at `/bare` and ends; the deployment stays.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve

api = FastAPI()


class Question(BaseModel):
    """One row, by column."""

    features: dict[str, float]


class BareAnswer(BaseModel):
    """The class and the probabilities."""

    prediction: str
    probabilities: dict[str, float]


@serve.deployment(name="Bare", max_ongoing_requests=128, ray_actor_options={"num_cpus": 0.05})
@serve.ingress(api)
class BareModel:
    """What one writes with Serve's and XGBoost's documentation at hand."""

    def __init__(self, path: str) -> None:
        self._booster = xgboost.Booster({"nthread": 1})
        self._booster.load_model(path)

    @api.post("/predict")
    async def predict(self, question: Question) -> BareAnswer:
        """Predict one row."""
        matrix = np.array([list(question.features.values())], dtype=np.float32)
        share = float(self._booster.inplace_predict(matrix)[0])
        return BareAnswer(
            prediction="malignant" if share > 0.5 else "benign", probabilities={"benign": 1 - share, "malignant": share}
        )


def main() -> int:
    """Deploy it."""
    from seedcore.utils.ray_utils import ensure_ray_initialized

    if not ensure_ray_initialized():
        raise SystemExit("there is no Ray here")
    deployment: Any = BareModel
    serve.run(deployment.bind(str(Path(sys.argv[1]))), name="bare", route_prefix="/bare")
    return 0


if __name__ == "__main__":
    sys.exit(main())
