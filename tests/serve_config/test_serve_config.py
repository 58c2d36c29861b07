"""serve_config/: Serve drops unknown keys in silence, so each is held against its schema here."""

import ast
import importlib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import seedcore

FOLDER = Path(__file__).parents[2] / "serve_config"
FILES = ["dev.yaml", "prod.yaml"]
APPLICATIONS = {
    "gateway": ("/", "entrypoints.gateway_entrypoint:build_gateway_app", "Gateway"),
    "ml_service": ("/ml", "entrypoints.ml_entrypoint:build_ml_service", "MLService"),
    "cognitive": ("/cognitive", "entrypoints.cognitive_entrypoint:build_cognitive_app", "CognitiveService"),
    "coordinator": ("/pipeline", "entrypoints.coordinator_entrypoint:build_coordinator_app", "CoordinatorService"),
    "state": ("/state", "entrypoints.state_entrypoint:build_state_app", "StateService"),
    "energy": ("/energy", "entrypoints.energy_entrypoint:build_energy_app", "EnergyService"),
    "organism": ("/organism", "entrypoints.organism_entrypoint:build_organism_app", "OrganismService"),
}
# Free-form by Serve's design: the builder's arguments, and Ray's custom resources.
FREE = ("args", "resources", "user_config", "runtime_env")


def load(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return config


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_in(inner)


def unknown_keys(value: Any, models: list[type[BaseModel]], path: str = "") -> list[str]:
    """Paths of the keys that none of the models has."""
    if isinstance(value, list):
        return [bad for n, item in enumerate(value) for bad in unknown_keys(item, models, f"{path}[{n}]")]
    if not isinstance(value, dict) or not models:
        return []
    found = []
    for key, inner in value.items():
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        if not fields:
            found.append(f"{path}.{key}")
        elif key not in FREE:
            below = [model for field in fields for model in models_in(field.annotation)]
            found += unknown_keys(inner, below, f"{path}.{key}")
    return found


@pytest.mark.parametrize("name", FILES)
def test_serve_knows_every_key(name: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = load(name)
    ServeDeploySchema.model_validate(config)
    assert unknown_keys(config, [ServeDeploySchema]) == []


@pytest.mark.parametrize(
    "place",
    [
        ("http_options", "location"),
        ("applications", 0, "deployments", 0, "max_concurrent_queries"),
        ("applications", 0, "deployments", 0, "ray_actor_options", "num_cpu"),
        ("applications", 0, "deployments", 0, "autoscaling_config", "target_num_ongoing_requests_per_replica"),
    ],
)
def test_the_check_finds_keys_that_serve_would_drop(place: tuple[Any, ...]) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = load("prod.yaml")
    target: Any = config
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = 1
    assert [path.rsplit(".", 1)[-1] for path in unknown_keys(config, [ServeDeploySchema])] == [place[-1]]


@pytest.mark.parametrize("name", FILES)
def test_the_seven_applications_are_where_clients_look_for_them(name: str) -> None:
    found = {
        app["name"]: (app["route_prefix"], app["import_path"], *(d["name"] for d in app["deployments"]))
        for app in load(name)["applications"]
    }
    assert found == APPLICATIONS


@pytest.mark.parametrize("name", APPLICATIONS)
def test_each_builder_builds_the_deployment_that_the_configuration_names(name: str) -> None:
    _, import_path, deployment = APPLICATIONS[name]
    module, _, function = import_path.partition(":")
    application = getattr(importlib.import_module(module), function)({"version": "test"})
    assert application._bound_deployment.name == deployment


@pytest.mark.parametrize("name", APPLICATIONS)
def test_builders_keep_real_annotations(name: str) -> None:
    """With `from __future__ import annotations` Serve would ignore the type of a builder's argument."""
    module = APPLICATIONS[name][1].partition(":")[0]
    source = Path(importlib.import_module(module).__file__ or "").read_text()
    imports = [n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
    assert "__future__" not in imports


@pytest.mark.parametrize("name", FILES)
def test_the_version_of_the_code_travels_in_the_arguments(name: str) -> None:
    assert {app["args"]["version"] for app in load(name)["applications"]} == {seedcore.__version__}


@pytest.mark.parametrize("name", FILES)
def test_queues_are_bounded_and_say_when_to_come_back(name: str) -> None:
    for app in load(name)["applications"]:
        for deployment in app["deployments"]:
            assert 0 < deployment["max_queued_requests"] <= 10_000
            assert deployment["backpressure_config"] == {"status_code": 429, "retry_after_s": 1}


def test_dev_listens_on_loopback_and_fits_on_two_cores() -> None:
    dev = load("dev.yaml")
    assert dev["http_options"]["host"] == "127.0.0.1"
    assert dev["http_options"]["port"] == 8000
    deployments = [d for app in dev["applications"] for d in app["deployments"]]
    assert sum(d["num_replicas"] * d["ray_actor_options"]["num_cpus"] for d in deployments) <= 0.5


def test_prod_places_replicas_as_the_seeds_do() -> None:
    prod = load("prod.yaml")
    assert prod["http_options"]["host"] == "0.0.0.0"
    for app in prod["applications"]:
        for deployment in app["deployments"]:
            assert deployment["ray_actor_options"]["resources"] == {"head_node": 0.001}
    (cognitive,) = next(a for a in prod["applications"] if a["name"] == "cognitive")["deployments"]
    assert cognitive["num_replicas"] == 2
    assert cognitive["ray_actor_options"]["memory"] == 2 * 1024**3


@pytest.mark.parametrize("name", FILES)
def test_no_timeout_of_serve_cuts_an_event_stream(name: str) -> None:
    """Serve's timeout is end to end; the applications have a deadline of their own that spares streams."""
    assert "request_timeout_s" not in load(name)["http_options"]
