"""Serve application `cognitive`."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.cognitive.service import CognitiveDeployment


def build_cognitive_app(args: dict[str, Any]) -> Application:
    """The Cognitive application; `args` come from the Serve config."""
    by_hand.check(args)
    return CognitiveDeployment.bind(args)
