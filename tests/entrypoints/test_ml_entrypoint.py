"""The Serve applications as their builders make them, without a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from entrypoints.cognitive_entrypoint import build_cognitive_app
from entrypoints.ml_entrypoint import build_ml_service
from seedcore.settings import get_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDCORE_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()


def test_deployments_have_the_names_of_the_serve_config():
    assert build_ml_service({})._bound_deployment.name == "MLService"
    assert build_cognitive_app({})._bound_deployment.name == "CognitiveService"


@pytest.mark.integration
def test_a_handle_trains_and_predicts(pg_dsn: str):
    # In a process of its own: what a replica does in the background ends with it.
    script = """
import json, sys
from ray import serve
from entrypoints.ml_entrypoint import build_ml_service
from tests.ml.support import flowers
handle = serve.run(build_ml_service({"version": "1"}), name="ml_service", _local_testing_mode=True)
made = handle.invoke.remote("/xgboost/train", {"name": "m", "params": {"n_estimators": 5}} | flowers()).result()
found = handle.invoke.remote("/xgboost/predict", {"name": "m", "features": [0, 0, 0]}).result()
print("answers", json.dumps([made["version"], found]), flush=True)
"""
    environment = {**os.environ, "SEEDCORE_PG_DSN": pg_dsn}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("answers ")), done.stderr)
    version, found = json.loads(line.removeprefix("answers "))
    assert found["model"] == {"name": "m", "version": version}
    assert found["prediction"] == "iris"
