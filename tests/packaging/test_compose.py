"""docker/*.yml against the Compose specification, and against the seeds' names, ports and defaults."""

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from jsonschema.protocols import Validator
from ray._private.services import determine_plasma_store_config
from ray._private.utils import resolve_object_store_memory

from seedcore.settings import Settings
from tests.packaging.files import DEPLOY, DOCKER, IMAGE, NAMES, PORTS, compose, defaults, env_file

FILES = ["docker-compose.yml", "ray-workers.yml", "head-on-host.yml"]
SECRETS = ("RAY_AUTH_TOKEN", "SEEDCORE_API_KEYS", "GRAFANA_PASSWORD")


@pytest.fixture(scope="module")
def specification() -> Validator:
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    return jsonschema.validators.validator_for(schema)(schema)


@pytest.mark.parametrize("name", FILES)
def test_the_compose_specification_knows_all_of_it(name: str, specification: Validator):
    assert [f"{list(e.path)}: {e.message}" for e in specification.iter_errors(compose(name))] == []


def test_the_specification_would_find_a_mistake(specification: Validator):
    wrong = compose("docker-compose.yml")
    wrong["services"]["ray-head"]["healthchek"] = {}
    assert list(specification.iter_errors(wrong))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return compose("docker-compose.yml")["services"] | compose("ray-workers.yml")["services"]


def test_services_and_network_have_the_seeds_names(services: dict[str, Any]):
    stores = {"postgresql", "mysql", "redis", "neo4j"}
    ours = {"ray-head", "ray-worker", "ray-worker-remote", "seedcore-api", "bootstrap"}
    assert set(services) == ours | stores | {"prometheus", "grafana"}
    for name in FILES[:2]:
        assert compose(name)["networks"] == {NAMES["network"]: {"name": NAMES["network"]}}
    assert compose("docker-compose.yml")["name"] == NAMES["project"]
    # Compose names containers PROJECT-SERVICE-NUMBER, unless a file does.
    assert f"{NAMES['project']}-ray-worker" == "seedcore-ray-worker"
    assert not [name for name, service in services.items() if "container_name" in service]
    assert {n for n, s in services.items() if s.get("profiles") == ["obs"]} == {"prometheus", "grafana"}


def test_the_head_offers_the_seeds_ports_on_loopback(services: dict[str, Any]):
    published = {defaults(port) for port in services["ray-head"]["ports"]}
    names = ("gcs", "client", "dashboard", "serve", "compose_metrics")
    assert published == {f"127.0.0.1:{PORTS[name]}:{PORTS[name]}" for name in names}
    assert [defaults(p) for p in services["seedcore-api"]["ports"]] == [f"127.0.0.1:{PORTS['api']}:{PORTS['api']}"]


def test_no_store_is_reachable_from_outside(services: dict[str, Any]):
    assert not any("ports" in services[store] for store in NAMES["stores"] if store in services)


def test_head_and_workers_have_no_ray_address_and_clients_have_the_head_s(services: dict[str, Any]):
    for name in ("ray-head", "ray-worker", "ray-worker-remote"):
        assert "RAY_ADDRESS" not in services[name]["environment"]
    for name in ("seedcore-api", "bootstrap"):
        assert services[name]["environment"]["RAY_ADDRESS"] == f"ray://ray-head:{PORTS['client']}"
    assert "RAY_ADDRESS" not in env_file(DOCKER / "env.example")


def test_workers_join_as_the_seeds_say(services: dict[str, Any]):
    local = [defaults(part) for part in services["ray-worker"]["command"]]
    assert local[:3] == ["ray", "start", f"--address=ray-head:{PORTS['gcs']}"]
    assert "--num-cpus=1" in local
    assert "${RAY_WORKER_CPUS:-1}" in " ".join(services["ray-worker"]["command"])
    remote = services["ray-worker-remote"]
    assert remote["network_mode"] == "host"
    assert remote["profiles"] == ["remote"], "a plain `up` must not start it"
    for option in (
        f"--address=${{HEAD_IP:-ray-head}}:{PORTS['gcs']}",
        "--node-ip-address=${WORKER_IP:-127.0.0.1}",
        f"--object-manager-port=${{RAY_OBJECT_MANAGER_PORT:-{PORTS['object_manager']}}}",
        f"--node-manager-port=${{RAY_NODE_MANAGER_PORT:-{PORTS['node_manager']}}}",
        f"--min-worker-port=${{RAY_MIN_WORKER_PORT:-{PORTS['min_worker']}}}",
        f"--max-worker-port=${{RAY_MAX_WORKER_PORT:-{PORTS['max_worker']}}}",
    ):
        assert option in remote["command"]


RAY_NODES = ["ray-head", "ray-worker", "ray-worker-remote"]


def size(text: str) -> int:
    """Bytes of what Compose reads as a size."""
    number, unit = re.fullmatch(r"(\d+)([kmg]?)b?", defaults(text).lower()).groups()  # type: ignore[union-attr]
    return int(number) << {"": 0, "k": 10, "m": 20, "g": 30}[unit]


def object_store(service: dict[str, Any]) -> int:
    """What the head's script is given, or a worker's own command says."""
    options = [part.partition("=")[2] for part in service["command"] if part.startswith("--object-store-memory=")]
    (given,) = options or [service["environment"]["RAY_OBJECT_STORE_MEMORY"]]
    return int(defaults(given))


@pytest.mark.parametrize("name", RAY_NODES)
def test_ray_keeps_its_objects_in_shared_memory(
    name: str, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Ray itself decides, by the file's own numbers; by default it would take 30 % of the memory, which is more."""
    shm, memory = size(services[name]["shm_size"]), size(services[name]["mem_limit"])
    monkeypatch.setattr(ray._private.utils, "get_shared_memory_bytes", lambda: shm)
    monkeypatch.setattr(ray._common.utils, "get_system_memory", lambda: memory)
    assert determine_plasma_store_config(object_store(services[name]), str(tmp_path))[0] == "/dev/shm"
    by_default = resolve_object_store_memory(memory)
    assert determine_plasma_store_config(by_default, str(tmp_path))[0] == str(tmp_path), "then it need not be given"
    assert shm < memory / 2, "shared memory counts as the container's"


@pytest.mark.parametrize("name", RAY_NODES)
def test_the_number_of_open_files_can_be_lowered_to_what_an_engine_allows(name: str, services: dict[str, Any]):
    limits = services[name]["ulimits"]["nofile"]
    assert limits == {"soft": "${RAY_NOFILE:-65536}", "hard": "${RAY_NOFILE:-65536}"}


def test_a_start_that_takes_as_long_as_it_may_is_not_called_unhealthy(services: dict[str, Any]):
    """Each start period outlasts what the container itself waits for by half, since a slow start is no failure."""
    periods = {
        name: int(s["healthcheck"].get("start_period", "0s").removesuffix("s"))
        for name, s in services.items()
        if "healthcheck" in s
    }
    patience = Settings.model_fields["bootstrap_timeout_s"].default
    assert periods["ray-head"] >= 1.5 * patience
    assert periods["bootstrap"] >= 1.5 * patience
    assert periods["seedcore-api"] >= periods["bootstrap"], (
        "healthy once the schema is there, which the bootstrap makes"
    )
    # Before its first answer: imports, and Ray's own 30 s for a node.
    assert min(periods["ray-worker"], periods["ray-worker-remote"]) >= 300


@pytest.mark.parametrize("name", ["ray-head", "ray-worker", "ray-worker-remote", "seedcore-api", "bootstrap"])
def test_our_containers_run_one_image_with_a_read_only_root_and_no_rights(name: str, services: dict[str, Any]):
    service = services[name]
    assert defaults(service["image"]) == IMAGE
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["restart"] == "unless-stopped"
    assert service["env_file"] == [{"path": ".env", "required": False}]
    assert service["healthcheck"]["test"]
    assert service["environment"]["RAY_AUTH_MODE"] == "${RAY_AUTH_MODE:-token}"


def test_every_image_has_a_version(services: dict[str, Any]):
    for name, service in services.items():
        tag = defaults(service["image"]).rpartition(":")[2]
        assert re.search(r"\d", tag), f"{name}: {tag}"


@pytest.mark.parametrize("name", FILES[:2])
def test_no_unset_variable_warns(name: str):
    text = (DOCKER / name).read_text()
    assert re.findall(r"(?<!\$)\$\{\w+\}", text) == []
    assert re.findall(r"(?<!\$)\$\w+", text) == []


def test_head_on_host_refuses_to_run_without_the_address_that_workers_use():
    assert "${HEAD_IP:?" in compose("head-on-host.yml")["services"]["ray-head"]["environment"]["RAY_NODE_IP"]


def test_every_mounted_file_is_there(services: dict[str, Any]):
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists()
    scrape = yaml.safe_load((DEPLOY / "observability" / "prometheus.yml").read_text())
    targets = [t for job in scrape["scrape_configs"] for c in job.get("static_configs", []) for t in c["targets"]]
    assert targets == [
        f"seedcore-api:{PORTS['api']}",
        f"ray-head:{PORTS['compose_metrics']}",
        f"ray-head:{PORTS['haproxy_metrics']}",
    ]


def test_the_example_holds_no_secret_that_guards_anything():
    example = env_file(DOCKER / "env.example")
    assert {name: example[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")
    assert example["RAY_AUTH_MODE"] == "token"
