"""Ports, image, versions, names and variables: said once, and the same everywhere else."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from seedcore.settings import Settings, env_names
from tests.packaging.files import DEPLOY, DOCKER, IMAGE, NAMES, PORTS, RAY_VERSION, ROOT, env_file

BASE = DEPLOY / "kustomize" / "base"
TEXTS = sorted(
    path
    for folder in (DOCKER, DEPLOY)
    for path in folder.rglob("*")
    if path.is_file()
    and not path.is_symlink()
    and path.suffix in (".yaml", ".yml", ".sh", ".env", "")
    and path.name != ".env"
)
# Of the pods alone; Compose's services have other names for the same.
ADDRESSES = {"RAY_HOST", "RAY_SERVE_URL", "RAY_DASHBOARD_URL"}
SECRET = {"SEEDCORE_PG_DSN", "SEEDCORE_MYSQL_DSN", "SEEDCORE_API_KEYS", "NEO4J_PASSWORD"}
OF_CONTAINERS = {"POSTGRES_PASSWORD", "MYSQL_PASSWORD", "RAY_AUTH_TOKEN", "SEEDCORE_METRICS_KEY", "GRAFANA_PASSWORD"}
NOT_SETTINGS = {"RAY_AUTH_MODE", *OF_CONTAINERS}


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", DEPLOY / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_ray_manifests_are_what_render_would_write(render: ModuleType):
    stale = [path.name for path, text in render.rendered().items() if path.read_text() != text]
    assert stale == [], "run `python deploy/render.py`"


def test_the_rayservice_serves_what_prod_yaml_says():
    service = yaml.safe_load((BASE / "rayservice.yaml").read_text())
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == yaml.safe_load(
        (ROOT / "serve_config" / "prod.yaml").read_text()
    )
    alone = yaml.safe_load((BASE / "raycluster.yaml").read_text())
    assert service["spec"]["rayClusterConfig"] == alone["spec"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_image_of_ours_and_every_ray_has_the_one_version(path: Path):
    text = path.read_text()
    assert set(re.findall(rf"(?<![\w/.-]){NAMES['image']}:\d[\w.]*", text)) <= {IMAGE}
    assert set(re.findall(r"rayproject/[\w-]+:([\d.]+)", text)) <= {RAY_VERSION}
    assert set(re.findall(r'rayVersion: "?([\d.]+)', text)) <= {RAY_VERSION}


def test_kubernetes_and_compose_give_the_same_variables():
    example, shared = env_file(DOCKER / "env.example"), env_file(BASE / "seedcore.env")
    assert set(shared) == set(example) - SECRET - OF_CONTAINERS
    assert {n: v for n, v in shared.items() if n not in ADDRESSES} == {
        n: example[n] for n in shared if n not in ADDRESSES
    }
    service = f"{NAMES['rayservice']}-head-svc"
    assert shared["RAY_HOST"] == service
    for name in ADDRESSES:
        assert shared[name].replace(service, "ray-head") == example[name]


@pytest.mark.parametrize("path", [DOCKER / "env.example", BASE / "seedcore.env"], ids=["compose", "kubernetes"])
def test_variables_are_settings_with_values_that_are_allowed(path: Path, monkeypatch: pytest.MonkeyPatch):
    given = env_file(path)
    known = {variable for field in Settings.model_fields for variable in env_names(field)}
    assert set(given) - known == NOT_SETTINGS & set(given)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.ray_address is None
    assert settings.ray_port == str(PORTS["client"])
    assert settings.namespace == NAMES["namespace"]


def test_the_seeds_variables_have_the_seeds_values():
    example = env_file(DOCKER / "env.example")
    said = {
        "RAY_NAMESPACE": "seedcore-dev",
        "SEEDCORE_NS": "seedcore-dev",
        "SEEDCORE_PG_DSN": "postgresql://postgres:postgres@postgresql:5432/seedcore",
        "SEEDCORE_MYSQL_DSN": "mysql+mysqlconnector://seedcore:password@mysql:3306/seedcore",
        "REDIS_URL": "redis://redis:6379",
        "NEO4J_URI": "bolt://neo4j:7687",
        "LOG_LEVEL": "INFO",
        "LLM_PROVIDER": "mlservice",
        "XGB_STORAGE_PATH": "/app/data/models",
        "COGNITIVE_TIMEOUT_S": "8.0",
        "COGNITIVE_MAX_INFLIGHT": "64",
        "OCPS_DRIFT_THRESHOLD": "0.5",
        "DSP_LOG_TO_STDOUT": "true",
    }
    assert {name: example[name] for name in said} == said


def test_env_is_not_committed():
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
