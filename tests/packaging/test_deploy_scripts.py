"""deploy/*.sh with kubectl, helm, kind and docker that write down how they were called."""

import re
from pathlib import Path

import pytest

from tests.packaging.files import DEPLOY, IMAGE
from tests.packaging.stand_ins import StandIns

STORES = ["postgresql", "mysql", "redis", "neo4j"]
OPERATOR = [
    "helm repo add kuberay https://ray-project.github.io/kuberay-helm/ --force-update",
    "helm upgrade --install kuberay-operator kuberay/kuberay-operator --version 1.7.0 "
    "--namespace kuberay --create-namespace",
    "kubectl wait --for=condition=available --timeout=300s deployment/kuberay-operator -n kuberay",
]


@pytest.fixture
def cluster(stand_ins: StandIns) -> StandIns:
    """A cluster in which everything works."""
    stand_ins.add("kubectl", "helm", "docker")
    stand_ins.add("kind", answer='[ "$*" != "get clusters" ] || echo other')
    return stand_ins


def stores(namespace: str, secret: str = "") -> list[str]:
    ending = f"--namespace {namespace} --set auth.existingSecret={secret} --wait --timeout 10m"
    return [
        f"kubectl get namespace {namespace}",
        *(f"helm upgrade --install {store} helm/{store} {ending}" for store in STORES),
        f"kubectl get pods,svc -n {namespace} -l app.kubernetes.io/part-of=seedcore-stores",
    ]


def applied(namespace: str, overlay: str, *, after: str = "") -> list[str]:
    k = f"kubectl -n {namespace}"
    return [
        "kubectl get crd rayservices.ray.io",
        f"kubectl get namespace {namespace}",
        f"{k} delete job seedcore-bootstrap --ignore-not-found",
        f"{k} apply -k kustomize/overlays/{overlay}",
        f"{k} get rayservice seedcore-svc",
        f"{k} wait rayservice/seedcore-svc --for=condition=Ready --timeout=1800s",
        f"{k} wait rayservice/seedcore-svc --for=condition=UpgradeInProgress=False --timeout=1800s",
        f"{k} rollout status deployment/seedcore-api --timeout=1800s",
        f"{k} wait job/seedcore-bootstrap --for=condition=Complete --timeout=1800s",
        f"{k} get raycluster -l ray.io/originated-from-cr-name=seedcore-svc -o name",
        f"{k} create job --from=cronjob/seedcore-migrate-after seedcore-migrate-after-N",
        f"{k} wait job/seedcore-migrate-after-N --for=condition=Complete --timeout=1800s",
        f"{k} get configmaps,pods,svc",
    ]


def calls(stand_ins: StandIns) -> list[str]:
    return [re.sub(r"(migrate-after)-\d+", r"\1-N", call) for call in stand_ins.calls()]


def run(stand_ins: StandIns, script: str, *arguments: str, **variables: str) -> list[str]:
    done = stand_ins.run(DEPLOY / script, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return calls(stand_ins)


def test_the_stores_are_deployed_with_what_everybody_knows_or_a_secret(cluster: StandIns):
    assert run(cluster, "deploy-datastores.sh") == stores("seedcore-dev")
    assert run(cluster, "deploy-datastores.sh", "live", STORES_SECRET="seedcore-stores") == stores(
        "live", "seedcore-stores"
    )


def test_applying_waits_for_the_roll_and_then_ends_the_migration(cluster: StandIns):
    assert run(cluster, "apply-new-ray-config.sh") == applied("seedcore-dev", "dev")
    assert run(cluster, "apply-new-ray-config.sh", "live", "prod") == applied("live", "prod")


def test_a_raycluster_is_waited_for_in_its_own_way(cluster: StandIns):
    cluster.add("kubectl", answer='[[ "$*" != *"get rayservice"* ]]')
    made = run(cluster, "apply-new-ray-config.sh", "seedcore-dev", "raycluster")
    assert "kubectl -n seedcore-dev wait raycluster --all --for=condition=HeadPodReady --timeout=1800s" in made
    assert "kubectl -n seedcore-dev rollout status deployment/seedcore-serve-deploy --timeout=1800s" in made
    assert not any("wait rayservice" in call for call in made)


def test_while_the_old_cluster_lives_nothing_is_taken_away(cluster: StandIns):
    cluster.add("kubectl", answer='[[ "$*" != *originated-from* ]] || printf "old\\nnew\\n"')
    done = cluster.run(DEPLOY / "apply-new-ray-config.sh", ROLL_TIMEOUT_S="0")
    assert done.returncode == 2
    assert "./deploy/migrate-after.sh seedcore-dev" in done.stderr
    assert not any("create job" in call for call in cluster.calls())


def test_a_refused_end_of_the_migration_shows_why(cluster: StandIns):
    cluster.add("kubectl", answer='[[ "$*" != *" wait "* ]]')
    done = cluster.run(DEPLOY / "migrate-after.sh", "live")
    assert done.returncode == 2
    assert calls(cluster)[-1] == "kubectl -n live logs job/seedcore-migrate-after-N --tail=20"


def test_without_kuberay_or_with_an_unknown_overlay_nothing_is_applied(cluster: StandIns):
    done = cluster.run(DEPLOY / "apply-new-ray-config.sh", "live", "moon")
    assert (done.returncode, cluster.calls()) == (2, [])
    assert "prod raycluster shared-platform" in done.stderr
    cluster.add("kubectl", answer='[[ "$*" != "get crd"* ]]')
    done = cluster.run(DEPLOY / "apply-new-ray-config.sh")
    assert done.returncode == 2
    assert "deploy-kuberay.sh operator" in done.stderr


def test_kuberay_is_deployed_by_the_official_charts(cluster: StandIns):
    shown = ["kubectl get rayclusters -n kuberay", "kubectl get pods -n kuberay -l ray.io/cluster"]
    assert run(cluster, "deploy-kuberay.sh", "operator") == [*OPERATOR, *shown]
    assert run(cluster, "deploy-kuberay.sh") == [
        *OPERATOR,
        *stores("kuberay"),
        *applied("kuberay", "shared-platform"),
        *shown,
    ]
    chart = "helm upgrade --install ray-cluster kuberay/ray-cluster --version 1.7.0 --namespace kuberay"
    made = run(cluster, "deploy-kuberay.sh", "chart")
    assert made == [*OPERATOR, f"{chart} --values helm/ray-cluster-values.yaml", *shown]


def test_kind_gets_everything_and_proves_that_ray_can_be_reached(cluster: StandIns):
    made = run(cluster, "setup-kind-ray.sh")
    assert made[:5] == [
        "kind get clusters",
        "kind create cluster --name seedcore --config kind-config.yaml --wait 120s",
        "kubectl config use-context kind-seedcore",
        f"docker build -f ../docker/Dockerfile -t {IMAGE} ..",
        f"kind load docker-image {IMAGE} --name seedcore",
    ]
    assert made[5:-1] == [*OPERATOR, *stores("seedcore-dev"), *applied("seedcore-dev", "dev")]
    assert made[-1].startswith("kubectl -n seedcore-dev exec deploy/seedcore-api -- python -c ")
    assert "init_ray_with_smart_defaults" in made[-1]


def test_a_kind_cluster_that_exists_is_used(cluster: StandIns):
    cluster.add("kind", answer="echo seedcore")
    made = run(cluster, "setup-kind-ray.sh", "raycluster", SKIP_BUILD="1")
    assert not any("create cluster" in call or call.startswith("docker build") for call in made)
    assert "kubectl -n seedcore-dev apply -k kustomize/overlays/raycluster" in made


def test_a_failing_step_ends_the_set_up(cluster: StandIns):
    cluster.add("helm", answer="exit 1")
    done = cluster.run(DEPLOY / "setup-kind-ray.sh", SKIP_BUILD="1")
    assert done.returncode == 1
    assert not any("apply -k" in call for call in cluster.calls())


def test_a_missing_tool_is_named(stand_ins: StandIns):
    stand_ins.add("docker", "kind", "kubectl")
    done = stand_ins.run(DEPLOY / "setup-kind-ray.sh", PATH=f"{stand_ins.folder / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 2
    assert "needs helm" in done.stderr


@pytest.fixture
def secrets(cluster: StandIns, tmp_path: Path) -> Path:
    """Keeps what is created; a secret exists once it was."""
    kept = tmp_path / "secrets"
    kept.mkdir()
    get = f'if [[ "$*" = *"get secret"* ]]; then [ -e {kept}/$5 ]; exit; fi'
    create = f'if [[ "$*" = *"create secret generic"* ]]; then cp "${{7#--from-env-file=}}" {kept}/$6; fi'
    cluster.add("kubectl", answer=f"{get}\n{create}")
    return kept


def test_production_secrets_are_random_fit_together_and_are_made_once(cluster: StandIns, secrets: Path):
    made = run(cluster, "make-secrets.sh", "live")
    read = {p.name: dict(line.split("=", 1) for line in p.read_text().splitlines()) for p in secrets.iterdir()}
    assert set(read) == {"seedcore-stores", "seedcore-secrets", "seedcore-ray-token"}
    passwords = read["seedcore-stores"]
    assert len(set(passwords.values())) == len(passwords) == 5
    assert passwords["POSTGRES_PASSWORD"] in read["seedcore-secrets"]["SEEDCORE_PG_DSN"]
    assert passwords["MYSQL_PASSWORD"] in read["seedcore-secrets"]["SEEDCORE_MYSQL_DSN"]
    assert passwords["REDIS_PASSWORD"] in read["seedcore-secrets"]["REDIS_URL"]
    assert not any(value in call for call in made for value in passwords.values()), "arguments can be seen by others"
    before = {p.name: p.read_text() for p in secrets.iterdir()}
    run(cluster, "make-secrets.sh", "live")
    assert {p.name: p.read_text() for p in secrets.iterdir()} == before


def test_half_of_the_secrets_is_refused(cluster: StandIns, secrets: Path):
    (secrets / "seedcore-secrets").write_text("SEEDCORE_API_KEYS=x\n")
    done = cluster.run(DEPLOY / "make-secrets.sh", "live")
    assert done.returncode == 2
    assert "cannot know the new passwords" in done.stderr
