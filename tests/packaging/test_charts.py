"""deploy/helm: the charts as Helm renders them. What Helm made is kept in rendered/, so that this needs no Helm."""

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.packaging.files import DEPLOY, NAMES, compose, defaults
from tests.packaging.manifests import Document, documents, pods, problems
from tests.packaging.pod_security import refused

RENDERED = Path(__file__).parent / "rendered"
STORES = ["postgresql", "mysql", "redis", "neo4j"]


def rendered(store: str, kind: str = "dev") -> list[Document]:
    return documents((RENDERED / f"{store}-{kind}.yaml").read_text())


def test_what_is_kept_was_rendered_from_these_charts():
    kept = {}
    for line in (RENDERED / "sources.sha256").read_text().splitlines():
        digest, name = line.split()
        kept[name] = digest
    files = [path for store in STORES for path in (DEPLOY / "helm" / store).rglob("*") if path.is_file()]
    now = {str(path.relative_to(DEPLOY)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert kept == now, "run deploy/render_charts.sh"


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is missing")
def test_helm_still_renders_that(tmp_path: Path):
    subprocess.run([DEPLOY / "render_charts.sh", tmp_path], check=True, timeout=120)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {p.name: p.read_text() for p in RENDERED.iterdir()}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", ["dev", "prod"])
def test_kubernetes_takes_every_document(store: str, kind: str):
    assert [problem for document in rendered(store, kind) for problem in problems(document)] == []


@pytest.mark.parametrize("store", STORES)
def test_every_store_passes_pod_security_restricted(store: str):
    assert [problem for document in rendered(store, "prod") for problem in refused(document)] == []


@pytest.mark.parametrize("store", STORES)
def test_each_store_is_where_clients_look_keeps_its_data_and_is_probed(store: str):
    chart = rendered(store)
    ports = {d["metadata"]["name"]: [p["port"] for p in d["spec"]["ports"]] for d in chart if d["kind"] == "Service"}
    assert NAMES["stores"][store] in ports[store]
    for document in chart:
        for pod in pods(document):
            (container,) = pod["spec"]["containers"]
            assert container["image"] == defaults(compose("docker-compose.yml")["services"][store]["image"])
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
            assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "seedcore-stores", "the policy's label"
            (claim,) = document["spec"]["volumeClaimTemplates"]
            assert claim["metadata"]["name"] in {m["name"] for m in container["volumeMounts"]}


@pytest.mark.parametrize("store", STORES)
def test_in_production_passwords_come_from_a_secret_that_the_chart_does_not_make(store: str):
    assert not [d for d in rendered(store, "prod") if d["kind"] == "Secret"]
    text = (RENDERED / f"{store}-prod.yaml").read_text()
    key = {"postgresql": "POSTGRES"}.get(store, store.upper())
    assert f"name: seedcore-stores, key: {key}_PASSWORD" in text
    assert "storageClassName: fast" in text


def test_the_stores_are_those_that_the_documents_give_a_purpose():
    images = {store: compose("docker-compose.yml")["services"][store]["image"] for store in STORES}
    assert set(STORES) == {"postgresql", "mysql", "redis", "neo4j"}
    assert "pgvector/pgvector:" in images["postgresql"]
    assert all(f"{store}:" in images[store] for store in ("mysql", "redis", "neo4j"))
    secrets = yaml.safe_load((DEPLOY / "kustomize" / "overlays" / "dev" / "secrets.yaml").read_text())["data"]
    shared = dict(
        line.split("=", 1)
        for line in (DEPLOY / "kustomize" / "base" / "seedcore.env").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    known = shared | {name: base64.b64decode(value).decode() for name, value in secrets.items()}
    for variable, scheme in {
        "SEEDCORE_MYSQL_DSN": "mysql+mysqlconnector",
        "REDIS_URL": "redis",
        "NEO4J_URI": "bolt",
    }.items():
        assert known[variable].startswith(f"{scheme}://")


def test_redis_has_a_master_and_three_replicas_that_follow_it():
    chart = rendered("redis")
    sets = {d["metadata"]["name"]: d["spec"] for d in chart if d["kind"] == "StatefulSet"}
    assert {name: spec["replicas"] for name, spec in sets.items()} == {"redis-master": 1, "redis-replicas": 3}
    (container,) = sets["redis-replicas"]["template"]["spec"]["containers"]
    assert "--replicaof redis-master 6379" in container["command"][-1]
    services = {d["metadata"]["name"]: d["spec"]["selector"] for d in chart if d["kind"] == "Service"}
    assert services["redis"] == services["redis-master"] != services["redis-replicas"]


def test_development_passwords_are_those_of_the_dev_overlay():
    text = (DEPLOY / "kustomize" / "overlays" / "dev" / "secrets.yaml").read_text()
    said = {name: base64.b64decode(value).decode() for name, value in yaml.safe_load(text)["data"].items()}
    assert re.findall(r"^  # (.+)$", text, re.MULTILINE) == list(said.values()), "the comments are for people"
    passwords = {}
    for store in STORES:
        for document in rendered(store):
            if document["kind"] == "Secret":
                passwords |= document["stringData"]
    assert f":{passwords['POSTGRES_PASSWORD']}@postgresql:" in said["SEEDCORE_PG_DSN"]
    assert f":{passwords['MYSQL_PASSWORD']}@mysql:" in said["SEEDCORE_MYSQL_DSN"]
    assert passwords["NEO4J_PASSWORD"] == said["NEO4J_PASSWORD"]
