"""The overlay `llm`: the facade, set up as it is rendered, reaches what `ray.serve.llm` serves."""

import importlib.util
import re
from pathlib import Path

import httpx
import pytest
import yaml

from seedcore.settings import Settings, load_settings
from tests.ml.support import started_service
from tests.packaging.manifests import Document, build, clusters, has_kubectl, of
from tests.support.scripted_model import ModelTurn, scripted_model

pytestmark = pytest.mark.skipif(not has_kubectl(), reason="kubectl is not installed")

SERVED = "http://seedcore-llm-serve-svc:8000"


def environment(built: list[Document]) -> dict[str, str]:
    return {name: text for name, text in of(built, "ConfigMap", "seedcore-env")["data"].items() if "LLM_" in name}


def llm_application(built: list[Document]) -> Document:
    service = of(built, "RayService", "seedcore-llm")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    return dict(application)


def labels_fit(selector: Document, labels: dict[str, str]) -> bool:
    wanted = all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
    return wanted and all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ()))


def test_seedcore_asks_for_the_model_that_is_served():
    built = build("overlays/llm")
    (config,) = llm_application(built)["args"]["llm_configs"]
    assert environment(built)["LLM_MODEL"] == config["model_loading_config"]["model_id"]


def test_the_paths_of_the_facade_are_those_of_ray_serve_llm():
    built = build("overlays/llm")
    assert llm_application(built)["route_prefix"] == "/"
    # Importing it needs the LLM image's packages; its source tells what there is.
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    source = (Path(str(ray.origin)).parent / "llm/_internal/serve/core/ingress/ingress.py").read_text()
    routes = set(re.findall(r'app\.(?:get|post)\(\s*"([^"]+)"', source))
    assert {"/v1/models", "/v1/chat/completions", "/v1/embeddings"} <= routes


def test_the_network_policy_lets_the_pods_that_ask_through():
    built = build("overlays/llm")
    policy = of(built, "NetworkPolicy", "seedcore-llm")["spec"]
    [served] = clusters(of(built, "RayService", "seedcore-llm"))
    for pod in (served["headGroupSpec"]["template"], *(group["template"] for group in served["workerGroupSpecs"])):
        assert labels_fit(policy["podSelector"], pod["metadata"]["labels"])
    [ours] = [
        cluster
        for document in built
        if document["kind"] == "RayService" and document["metadata"]["name"] != "seedcore-llm"
        for cluster in clusters(document)
    ]
    # The ML service's replicas are on the head.
    labels = ours["headGroupSpec"]["template"]["metadata"]["labels"]
    rules = [rule for rule in policy["ingress"] if {"protocol": "TCP", "port": 8000} in rule.get("ports", ())]
    assert any(labels_fit(source["podSelector"], labels) for rule in rules for source in rule["from"])


@pytest.mark.integration
async def test_the_facade_answers_with_the_rendered_settings(pg_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    built = build("overlays/llm")
    (config,) = llm_application(built)["args"]["llm_configs"]
    with scripted_model(ModelTurn("good day")) as model:
        model.models = [config["model_loading_config"]["model_id"]]
        for name, text in environment(built).items():
            monkeypatch.setenv(name, text.replace(SERVED, model.url.removesuffix("/v1")))
        assert pg_settings.pg_dsn is not None
        settings = load_settings(data_dir=pg_settings.data_dir, pg_dsn=pg_settings.pg_dsn.get_secret_value())
        async with started_service(settings) as service:
            transport = httpx.ASGITransport(service.build_app())
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                body = {"model": "fast", "messages": [{"role": "user", "content": "hello"}]}
                answer = await http.post("/v1/chat/completions", json=body)
                names = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]
        assert answer.json()["choices"][0]["message"]["content"] == "good day"
        assert model.requests[0]["model"] == "seedcore-llm"
        assert names == ["local", "seedcore-llm", "fast", "deep"]
