"""Serve application `ml_service`."""

from typing import Any

from ray.serve import Application

from seedcore.ml.service import MLDeployment


def build_ml_service(args: dict[str, Any]) -> Application:
    """The ML application; `args` come from the Serve config."""
    return MLDeployment.bind(args)
