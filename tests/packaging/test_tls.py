"""TLS in Compose, in the manifests, and by the scripts."""

import ssl
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.packaging.files import DEPLOY, DOCKER, IMAGE, compose
from tests.packaging.manifests import (
    KUSTOMIZE,
    Document,
    added_within_lists,
    documents,
    has_kubectl,
    of,
    pods,
    problems,
)
from tests.packaging.pod_security import refused
from tests.packaging.stand_ins import StandIns
from tests.packaging.test_compose import specification
from tests.support.certificates import Authority

__all__ = ["specification"]
needs_kubectl = pytest.mark.skipif(not has_kubectl(), reason="kubectl is missing")
RAY = ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")


@pytest.fixture
def authority(starts_server: None, tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def make(authority: Authority, folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    given = {"RAY_TLS_AUTHORITY": str(authority.folder), "RAY_TLS_SERVER_CERT": str(folder / "tls.crt")}
    return subprocess.run(
        [DOCKER / "ray-certificate.sh", *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **given, **more},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_container_makes_its_own_certificate_and_becomes_the_command(authority: Authority, tmp_path: Path):
    folder = tmp_path / "ray-tls"
    done = make(authority, folder, "sh", "-c", "env; echo $0", RAY_TLS_NAMES="ray-head other")
    assert done.returncode == 0, done.stderr
    assert "RAY_TLS_AUTHORITY" not in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "tls.crt", "tls.key"], "no key of the authority"
    assert (folder.stat().st_mode & 0o077, (folder / "tls.key").stat().st_mode & 0o077) == (0, 0)
    names = ssl._ssl._test_decode_cert(str(folder / "tls.crt"))["subjectAltName"]  # type: ignore[attr-defined]
    assert {("DNS", "ray-head"), ("DNS", "other"), ("IP Address", "127.0.0.1")} <= set(names)
    verify = ["openssl", "verify", "-CAfile", authority.ca, folder / "tls.crt"]
    assert "OK" in subprocess.run(verify, capture_output=True, text=True, timeout=20, check=True).stdout
    # A container that is started again has files there already.
    assert make(authority, folder, "true").returncode == 0


def test_without_an_authority_it_only_becomes_the_command(tmp_path: Path):
    done = subprocess.run(
        [DOCKER / "ray-certificate.sh", "echo", "there"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert done.stdout == b"there\n"


def test_an_authority_that_cannot_be_read_ends_it_with_the_name_of_the_file(authority: Authority, tmp_path: Path):
    (authority.folder / "ca.key").unlink()
    done = make(authority, tmp_path / "ray-tls", "true")
    assert done.returncode == 2
    assert "ca.key cannot be read (RAY_TLS_AUTHORITY)" in done.stderr


@pytest.mark.integration
def test_make_certs_refuses_what_is_no_name(tmp_path: Path):
    done = subprocess.run(
        [DEPLOY / "make-certs.sh", tmp_path, "a,DNS:b"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "is no name and no address" in done.stderr


@pytest.mark.parametrize("name", ["tls.yml", "tls-remote.yml"])
def test_compose_knows_all_of_it(name: str, specification: Any):
    text = (DOCKER / name).read_text()
    assert [
        e.message
        for e in jsonschema.validators.validator_for(specification.schema)(specification.schema).iter_errors(
            yaml.safe_load(text)
        )
    ] == []


def test_every_container_of_ours_speaks_tls_and_the_two_that_listen_have_a_certificate():
    services = compose("tls.yml")["services"] | compose("tls-remote.yml")["services"]
    known = compose("docker-compose.yml")["services"] | compose("ray-workers.yml")["services"]
    ours = {name for name, service in known.items() if service.get("image", "").startswith("${SEEDCORE_IMAGE")}
    assert set(services) == ours | {"prometheus"}
    for name in ours:
        environment = services[name]["environment"]
        assert set(RAY) <= set(environment), name
        assert environment["RAY_SERVE_URL"].startswith("https://")
        assert services[name]["entrypoint"][-1] == "/app/docker/ray-certificate.sh"
        assert ("SEEDCORE_TLS_CERT" in environment) is (name in ("ray-head", "seedcore-api"))


def test_prometheus_asks_the_gateway_over_tls_and_is_the_same_otherwise():
    folder = DEPLOY / "observability"
    plain, tls = (yaml.safe_load((folder / name).read_text()) for name in ("prometheus.yml", "prometheus-tls.yml"))
    job = tls["scrape_configs"][0]
    assert job.pop("scheme") == "https"
    mounted = [volume.split(":")[-2] for volume in compose("tls.yml")["services"]["prometheus"]["volumes"]]
    assert job.pop("tls_config")["ca_file"] in mounted
    assert tls == plain


def test_sc_cmd_adds_the_files_when_it_is_asked_to(stand_ins: StandIns):
    docker = stand_ins
    docker.add("docker", "exit 0")
    done = docker.run(DOCKER / "sc-cmd.sh", "status", SC_TLS="1")
    assert done.returncode == 0, done.stderr
    assert all("tls.yml" in call for call in docker.calls())


@pytest.mark.parametrize(("variables", "asked"), [
    ({}, "-q -O- http://127.0.0.1:8002/health"),
    ({"SEEDCORE_TLS_CERT": "/c"}, "-q -O- --no-check-certificate https://127.0.0.1:8002/health"),
])  # fmt: skip
def test_health_is_asked_in_the_way_that_is_spoken(stand_ins: StandIns, variables: dict[str, str], asked: str):
    stand_ins.add("wget", "exit 0")
    assert stand_ins.run(DOCKER / "healthcheck.sh", **variables).returncode == 0
    assert asked in stand_ins.calls()[-1]


def built_with(overlay: str, tmp_path: Path, *patches: str) -> list[Document]:
    folder = tmp_path / "overlay"
    folder.mkdir()
    way = Path(*[".."] * (len(folder.parts) - 1), *KUSTOMIZE.parts[1:])
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization"]
    lines += [f"resources: [{way / 'overlays' / overlay}]", f"components: [{way / 'components' / 'tls'}]"]
    for patch in patches:
        (folder / patch).write_text((KUSTOMIZE / "components" / "tls" / patch).read_text())
        lines += [f"patches: [{{path: {patch}, target: {{kind: RayService, name: seedcore-svc}}}}]"]
    (folder / "kustomization.yaml").write_text("\n".join(lines))
    ran = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return documents(ran.stdout)


@needs_kubectl
@pytest.mark.parametrize(("overlay", "patches"), [("dev", ()), ("prod", ("autoscaler.yaml",))])
def test_kubernetes_takes_the_component(overlay: str, patches: tuple[str, ...], tmp_path: Path):
    built = built_with(overlay, tmp_path, *patches)
    assert [problem for document in built for problem in problems(document)] == []
    assert [problem for document in built for problem in refused(document)] == []
    assert [added for document in built for added in added_within_lists(document)] == []
    config = of(built, "ConfigMap", "seedcore-env")["data"]
    assert set(RAY) <= set(config)
    seen = 0
    for document in built:
        for pod in pods(document):
            spec = pod["spec"]
            if not any(c["image"] == IMAGE for c in spec["containers"]):
                continue
            seen += 1
            (init,) = spec["initContainers"]
            folder = {e["name"]: e["value"] for e in init["env"]}["RAY_TLS_SERVER_CERT"]
            assert folder == config["RAY_TLS_SERVER_CERT"]
            for container in (init, *spec["containers"]):
                assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
            assert all("ray-authority" not in str(c["volumeMounts"]) for c in spec["containers"]), (
                "not for who runs skills"
            )
    assert seen >= 5
    (api,) = pods(of(built, "Deployment", "seedcore-api"))
    (container,) = api["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    if patches:
        cluster = of(built, "RayService", "seedcore-svc")["spec"]["rayClusterConfig"]
        assert cluster["autoscalerOptions"]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
