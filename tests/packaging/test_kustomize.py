"""deploy/kustomize: every overlay as kubectl builds it, against the schemas and the seeds."""

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packaging.files import DEPLOY, IMAGE, NAMES, PORTS
from tests.packaging.manifests import (
    KUSTOMIZE,
    OVERLAYS,
    Document,
    added_within_lists,
    build,
    clusters,
    documents,
    has_kubectl,
    of,
    pods,
    problems,
)
from tests.packaging.pod_security import refused

needs_kubectl = pytest.mark.skipif(not has_kubectl(), reason="kubectl is missing")
SHARED = NAMES["shared_platform"]


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_and_kuberay_take_every_document(overlay: str):
    built = build(overlay)
    assert [problem for document in built for problem in problems(document)] == []
    clusters = [
        d["kind"] for d in built if d["kind"] in ("RayService", "RayCluster") and "llm" not in d["metadata"]["name"]
    ]
    assert len(clusters) == 1, "RayService and RayCluster, never both at once"


def test_files_of_their_own_are_valid_too():
    for path in (KUSTOMIZE / "base").glob("*.yaml"):
        if path.name != "kustomization.yaml":
            assert [p for d in documents(path.read_text()) for p in problems(d)] == [], path.name


def test_every_file_that_a_kustomization_names_is_there():
    for path in [*KUSTOMIZE.rglob("kustomization.yaml"), DEPLOY / "kuberay" / "kustomization.yaml"]:
        said = yaml.safe_load(path.read_text())
        files = [*said.get("resources", []), *said.get("components", [])]
        files += [patch["path"] for patch in said.get("patches", []) if "path" in patch]
        files += [env for generator in said.get("configMapGenerator", []) for env in generator.get("envs", [])]
        missing = [name for name in files if not name.startswith("https://") and not (path.parent / name).exists()]
        assert missing == [], path


def test_the_checks_find_mistakes():
    service = documents((KUSTOMIZE / "base" / "rayservice.yaml").read_text())[0]
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParam"] = {}
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["container"] = []
    assert len(problems(service)) == 2
    (api,) = documents((KUSTOMIZE / "base" / "api-svc.yaml").read_text())
    api["spec"]["port"] = 1
    assert len(problems(api)) == 1


def environment(pod: Document, *, configs: dict[str, dict[str, str]]) -> dict[str, Any]:
    """What a container gets, in Kubernetes' order: envFrom, the later over the earlier, then env."""
    (container,) = pod["spec"]["containers"]
    found: dict[str, Any] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= configs[source["configMapRef"]["name"]]
    return found | {item["name"]: item.get("value", item.get("valueFrom")) for item in container.get("env", [])}


def configs_of(built: list[Document]) -> dict[str, dict[str, str]]:
    return {d["metadata"]["name"]: d["data"] for d in built if d["kind"] == "ConfigMap"}


@needs_kubectl
@pytest.mark.parametrize(
    ("overlay", "head"),
    [
        ("overlays/dev", f"{NAMES['rayservice']}-head-svc"),
        ("overlays/raycluster", f"{NAMES['raycluster']}-head-svc"),
        ("overlays/prod", f"{NAMES['rayservice']}-head-svc"),
    ],
)
def test_pods_get_ray_by_their_role(overlay: str, head: str):
    built = build(overlay)
    configs = configs_of(built)
    assert "RAY_ADDRESS" not in configs["seedcore-env"]
    assert configs["seedcore-client-env"] | {"RAY_NAMESPACE": ""} == {
        "RAY_ADDRESS": f"ray://{head}:{PORTS['client']}",
        "RAY_NAMESPACE": "",
        "RAY_SERVE_ADDRESS": f"http://{head}:{PORTS['serve']}",
        "RAY_DASHBOARD_ADDRESS": f"http://{head}:{PORTS['dashboard']}",
    }
    (cluster,) = [d for d in built if d["kind"] in ("RayService", "RayCluster")]
    roles = {}
    for pod in pods(cluster):
        got = environment(pod, configs=configs)
        roles[got["SEEDCORE_ROLE"]] = got
        assert "RAY_ADDRESS" not in got
    assert set(roles) == {"head", "worker"}
    assert roles["head"]["GRPC_ENABLE_FORK_SUPPORT"] == "0"
    for kind, name in (
        ("Deployment", "seedcore-api"),
        ("Job", "seedcore-bootstrap"),
        ("CronJob", "seedcore-bootstrap"),
    ):
        (pod,) = pods(of(built, kind, name))
        got = environment(pod, configs=configs)
        assert got["RAY_ADDRESS"] == f"ray://{head}:{PORTS['client']}"
        assert got["SEEDCORE_ROLE"] == "client"
        assert got["RAY_NAMESPACE"] == got["SEEDCORE_NS"]
    assert {got["RAY_AUTH_MODE"] for got in roles.values()} == {"token" if overlay.endswith("prod") else "disabled"}


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_our_pods_run_the_one_image_without_rights(overlay: str):
    for document in build(overlay):
        for pod in pods(document):
            for container in pod["spec"]["containers"]:
                if container["image"].startswith(("redis:", "rayproject/")):
                    continue
                assert container["image"] == IMAGE
                assert container["resources"].keys() == {"requests", "limits"}
                security = container["securityContext"]
                assert security["readOnlyRootFilesystem"] is True
                assert security["allowPrivilegeEscalation"] is False
                assert security["capabilities"] == {"drop": ["ALL"]}
                assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
                mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
                assert "/tmp" in mounts
                assert set(mounts.values()) <= {volume["name"] for volume in pod["spec"]["volumes"]}


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_passes_pod_security_restricted(overlay: str):
    built = build(overlay)
    assert sum(1 for document in built for _ in pods(document)) >= 5
    assert [problem for document in built for problem in refused(document)] == []


def test_what_restricted_refuses_is_found():
    (cluster,) = documents((KUSTOMIZE / "base" / "raycluster.yaml").read_text())
    spec = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    assert refused(cluster) == []
    cluster["spec"]["enableInTreeAutoscaling"] = True
    autoscaler = ["autoscaler: allowPrivilegeEscalation", "autoscaler: capabilities that are not dropped"]
    assert refused(cluster) == [f"RayCluster/seedcore: {problem}" for problem in autoscaler]
    del cluster["spec"]["enableInTreeAutoscaling"], spec["securityContext"]
    del spec["containers"][0]["securityContext"]["capabilities"]
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    spec["containers"][0]["ports"][0]["hostPort"] = 6380
    assert [problem.partition(": ")[2] for problem in refused(cluster)] == [
        "volume host: {'hostPath'}",
        "ray-head: capabilities that are not dropped",
        "ray-head: runAsNonRoot",
        "ray-head: seccompProfile",
        "ray-head: hostPort",
    ]


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_applying_again_changes_nothing(overlay: str):
    """kubectl compares lists of custom resources as wholes, so what the API server adds there must be said."""
    assert [added for document in build(overlay) for added in added_within_lists(document)] == []


def test_what_would_be_added_is_found():
    (cluster,) = documents((KUSTOMIZE / "base" / "raycluster.yaml").read_text())
    del cluster["spec"]["workerGroupSpecs"][0]["numOfHosts"]
    del cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"][2]["protocol"]
    hosts, protocol = added_within_lists(cluster)
    assert hosts.startswith("numOfHosts beside ")
    assert protocol == "protocol of {'name': 'dashboard', 'containerPort': 8265}"


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_resources_are_what_both_the_operator_and_the_shell_read(overlay: str):
    """The operator takes single quotes away and reads JSON; what it starts Ray by is read by a shell."""
    for document in build(overlay):
        for cluster in clusters(document):
            for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
                said = group["rayStartParams"].get("resources", "'{}'")
                of_operator = json.loads(said.strip("'"))
                (of_shell,) = shlex.split(said)
                assert json.loads(of_shell) == of_operator


def test_head_and_workers_have_the_seeds_probes_resources_and_ports():
    (cluster,) = documents((KUSTOMIZE / "base" / "raycluster.yaml").read_text())
    ask = f"wget --tries=1 -T 2 -q -O- http://127.0.0.1:{PORTS['agent']}/api/local_raylet_healthz | grep -q success"
    for pod in pods(cluster):
        (container,) = pod["spec"]["containers"]
        assert container["startupProbe"] | {} == {
            "exec": {"command": ["bash", "-lc", ask]}, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 72
        }  # fmt: skip
        assert container["readinessProbe"] == {
            "exec": {"command": ["bash", "-lc", ask]}, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 3
        }  # fmt: skip
        assert container["resources"] == {
            "requests": {"cpu": "500m", "memory": "4Gi"}, "limits": {"cpu": "2", "memory": "8Gi"}
        }  # fmt: skip
    head = cluster["spec"]["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    parameters = head["rayStartParams"]
    assert (parameters["port"], parameters["dashboard-port"]) == (str(PORTS["gcs"]), str(PORTS["dashboard"]))
    assert parameters["ray-client-server-port"] == str(PORTS["client"])
    assert parameters["metrics-export-port"] == str(PORTS["metrics"])
    assert parameters["num-cpus"] == "2"
    assert parameters["resources"] == f"'{json.dumps({NAMES['head_resource']: 1})}'"
    ports = {p["name"]: p["containerPort"] for p in head["template"]["spec"]["containers"][0]["ports"]}
    assert ports == {
        "gcs-server": PORTS["gcs"],
        "client": PORTS["client"],
        "dashboard": PORTS["dashboard"],
        "serve": PORTS["serve"],
        "metrics": PORTS["metrics"],
        "haproxy-metrics": PORTS["haproxy_metrics"],
    }
    (group,) = cluster["spec"]["workerGroupSpecs"]
    assert f"{cluster['metadata']['name']}-{group['groupName']}-worker" == "seedcore-small-worker"


@needs_kubectl
def test_the_head_has_the_other_name_where_the_operator_does_not_give_it():
    built = build("overlays/dev")
    alias = of(built, "Service", f"{NAMES['raycluster']}-head-svc")["spec"]
    head, *_ = pods(of(built, "RayService", NAMES["rayservice"]))
    assert alias["selector"].items() <= head["metadata"]["labels"].items()
    ports = {p["name"]: p["containerPort"] for p in head["spec"]["containers"][0]["ports"]}
    assert {p["targetPort"]: p["port"] for p in alias["ports"]}.items() <= ports.items()
    assert {PORTS["dashboard"], PORTS["client"]} <= {p["port"] for p in alias["ports"]}, "what the commands forward"
    for overlay in ("overlays/raycluster", "overlays/shared-platform", "overlays/prod"):
        assert "seedcore-head-svc" not in [d["metadata"]["name"] for d in build(overlay)]


@needs_kubectl
def test_the_head_has_what_the_first_replicas_ask_for():
    for overlay in ("overlays/dev", "overlays/prod"):
        spec = of(build(overlay), "RayService", NAMES["rayservice"])["spec"]
        cpus = float(spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"])
        wanted = 0.0
        for application in yaml.safe_load(spec["serveConfigV2"])["applications"]:
            for deployment in application["deployments"]:
                first = deployment.get("num_replicas") or deployment["autoscaling_config"]["min_replicas"]
                wanted += first * deployment["ray_actor_options"]["num_cpus"]
        assert wanted <= cpus


@needs_kubectl
def test_prod_survives_a_head_scales_and_keeps_its_secrets_elsewhere():
    built = build("overlays/prod")
    assert not [d for d in built if d["kind"] == "Secret"]
    spec = of(built, "RayService", NAMES["rayservice"])["spec"]
    assert spec["upgradeStrategy"] == {"type": "NewCluster"}
    cluster = spec["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    redis = of(built, "StatefulSet", "seedcore-gcs-redis")
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"] == f"redis://{redis['metadata']['name']}:6379"
    assert "externalStorageNamespace" not in cluster["gcsFaultToleranceOptions"], (
        "clusters of an upgrade must not share"
    )
    assert cluster["authOptions"] == {"mode": "token", "secretName": "seedcore-ray-token"}
    for kind, name in (
        ("Deployment", "seedcore-api"),
        ("Job", "seedcore-bootstrap"),
        ("CronJob", "seedcore-bootstrap"),
    ):
        (pod,) = pods(of(built, kind, name))
        got = environment(pod, configs=configs_of(built))
        assert got["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": "seedcore-ray-token", "key": "auth_token"}}
    # A bootstrap, every two minutes, comes to the new cluster before the old one's dispatchers go.
    assert of(built, "CronJob", "seedcore-bootstrap")["spec"]["schedule"] == "*/2 * * * *"
    assert spec["rayClusterDeletionDelaySeconds"] >= 2 * 120


@needs_kubectl
def test_the_shared_platform_has_the_seeds_names_ports_and_nodes():
    built = build("overlays/shared-platform")
    cluster = of(built, "RayCluster", SHARED["raycluster"])["spec"]
    head = cluster["headGroupSpec"]
    ports = {p["name"]: p["containerPort"] for p in head["template"]["spec"]["containers"][0]["ports"]}
    said = SHARED["ports"]
    assert ports == {
        "gcs-server": said["gcs"],
        "client-server": said["client"],
        "dashboard": said["dashboard"],
        "ray-serve": said["serve"],
        "metrics": said["metrics"],
    }
    assert head["rayStartParams"]["ray-client-server-port"] == str(said["client"])
    for pod in pods(of(built, "RayCluster", SHARED["raycluster"])):
        assert pod["spec"]["nodeSelector"] == {"node-role": "worker"}
    (group,) = cluster["workerGroupSpecs"]
    assert group["groupName"] == "small-group"
    starts = {
        n: int(v) for n, v in group["rayStartParams"].items() if n in head["rayStartParams"] and "agent-listen" not in n
    }
    assert all(8301 <= port <= 8600 for name, port in starts.items() if name != "metrics-export-port")
    address = f"{SHARED['raycluster']}-head-svc.{SHARED['namespace']}.svc.cluster.local"
    assert configs_of(built)["seedcore-client-env"]["RAY_ADDRESS"] == f"ray://{address}:{said['client']}"
    policy = of(built, "NetworkPolicy", "ray-cluster-network-policy")["spec"]
    assert policy["podSelector"] == {"matchLabels": {"ray.io/cluster": SHARED["raycluster"]}}
    assert {p["port"] for p in policy["ingress"][0]["ports"]} >= set(said.values())
    assert {p["port"] for rule in policy["egress"] for p in rule["ports"]} >= {
        53,
        *said.values(),
        *NAMES["stores"].values(),
    } - {NAMES["stores"]["neo4j_http"]}


def test_policies_name_the_ports_that_are_listened_on():
    policies = {
        d["metadata"]["name"]: d["spec"] for d in documents((KUSTOMIZE / "base" / "network-policies.yaml").read_text())
    }
    ray = {p["port"] for rule in policies["seedcore-ray"]["ingress"] for p in rule.get("ports", [])}
    assert ray == {PORTS[n] for n in ("client", "dashboard", "serve", "agent", "metrics", "haproxy_metrics")}
    assert policies["seedcore-api"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": PORTS["api"]}]}]
    stores = {p["port"] for p in policies["seedcore-stores"]["ingress"][0]["ports"]}
    assert stores == set(NAMES["stores"].values())


@needs_kubectl
def test_the_llm_overlay_serves_a_model_and_points_seedcore_at_it():
    built = build("overlays/llm")
    service = of(built, "RayService", "seedcore-llm")
    name = service["metadata"]["name"]
    assert configs_of(built)["seedcore-env"]["LLM_UPSTREAM_URL"] == f"http://{name}-serve-svc:8000/v1"
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    module, _, function = application["import_path"].partition(":")
    # Importing it needs the LLM image's packages; its source tells what there is.
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    folder = Path(str(ray.origin)).parent
    assert f"def {function}(" in (folder.parent / module.replace(".", "/") / "__init__.py").read_text()
    source = (folder / "llm/_internal/serve/core/configs/llm_config.py").read_text()
    for key in application["args"]["llm_configs"][0]:
        assert f"    {key}: " in source


def test_argo_cd_names_what_is_there():
    operator, seedcore = documents((DEPLOY / "argocd" / "kuberay-application.yaml").read_text())
    assert (KUSTOMIZE.parents[1] / seedcore["spec"]["source"]["path"] / "kustomization.yaml").is_file()
    version = operator["spec"]["source"]["targetRevision"]
    assert f"KUBERAY_VERSION:-{version}" in (DEPLOY / "common.sh").read_text()
    assert f"?ref=v{version}" in (DEPLOY / "kuberay" / "kustomization.yaml").read_text()
