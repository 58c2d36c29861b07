"""Serve application `cognitive`."""

from typing import Any

from ray.serve import Application

from seedcore.cognitive.service import CognitiveDeployment


def build_cognitive_app(args: dict[str, Any]) -> Application:
    """The Cognitive application; `args` come from the Serve config."""
    return CognitiveDeployment.bind(args)
