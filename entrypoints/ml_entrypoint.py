"""Serve application `ml_service`."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.ml.service import MLDeployment


def build_ml_service(args: dict[str, Any]) -> Application:
    """The ML application; `args` come from the Serve config."""
    by_hand.check(args)
    return MLDeployment.bind(args)
