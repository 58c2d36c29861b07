"""The Serve applications as their builders make them, without a cluster."""

import pytest
from ray import serve

from entrypoints.cognitive_entrypoint import build_cognitive_app
from entrypoints.ml_entrypoint import build_ml_service
from seedcore.settings import get_settings
from tests.ml.support import flowers


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDCORE_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()


def test_deployments_have_the_names_of_the_serve_config():
    assert build_ml_service({})._bound_deployment.name == "MLService"
    assert build_cognitive_app({})._bound_deployment.name == "CognitiveService"


def test_a_handle_trains_and_predicts():
    handle = serve.run(build_ml_service({"version": "1"}), name="ml_service", _local_testing_mode=True)
    made = handle.invoke.remote("/xgboost/train", {"name": "m", "params": {"n_estimators": 5}} | flowers()).result()
    found = handle.invoke.remote("/xgboost/predict", {"name": "m", "features": [0, 0, 0]}).result()
    assert found["model"] == {"name": "m", "version": made["version"]}
    assert found["prediction"] == "iris"
