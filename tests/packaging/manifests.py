"""Kustomize's output, and what checks a manifest: Kubernetes' schemas, and KubeRay's."""

import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.packaging.files import DEPLOY

KUSTOMIZE = DEPLOY / "kustomize"
OVERLAYS = ["base", "overlays/dev", "overlays/raycluster", "overlays/prod", "overlays/shared-platform", "overlays/llm"]
KUBERNETES = "1.37"
SCHEMAS = Path(__file__).parent / "schemas"
Document = dict[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def has_kubectl() -> bool:
    return shutil.which("kubectl") is not None


@functools.cache
def build(overlay: str) -> list[Document]:
    """What `kubectl apply -k` would apply; built once."""
    command = ["kubectl", "kustomize", str(KUSTOMIZE / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    return documents(built.stdout)


def documents(text: str) -> list[Document]:
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document]


def of(built: list[Document], kind: str, name: str) -> Document:
    (found,) = [d for d in built if d["kind"] == kind and d["metadata"]["name"] == name]
    return found


def problems(document: Document) -> list[str]:
    """What the API server would refuse or drop in silence."""
    if document["apiVersion"].startswith("ray.io/"):
        return _ray_problems(document)
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{document['kind']}/{document['metadata'].get('name')}: {list(error.path)}: {error.message}"]
    return []


def pods(document: Document) -> Iterator[Document]:
    """Every pod template below."""
    for cluster in clusters(document):
        yield cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield group["template"]
    if document["kind"] == "CronJob":
        yield document["spec"]["jobTemplate"]["spec"]["template"]
    elif document["kind"] in ("Deployment", "StatefulSet", "Job"):
        yield document["spec"]["template"]


def clusters(document: Document) -> Iterator[Document]:
    """The specs of Ray clusters that it makes."""
    if document["kind"] == "RayService":
        yield document["spec"]["rayClusterConfig"]
    elif document["kind"] == "RayCluster":
        yield document["spec"]


def added_within_lists(document: Document) -> list[str]:
    """What the API server would add within lists that are not merged: every `kubectl apply` would say "configured"."""
    found: list[str] = []
    if document["apiVersion"].startswith("ray.io/"):
        found += _added(document, _ray_schemas()[document["kind"]], within=False)
        for template in pods(document):
            for container in template["spec"]["containers"]:
                found += [f"protocol of {port}" for port in container.get("ports", []) if "protocol" not in port]
    if document["kind"] == "Secret":
        found += [f"line break in {name}" for name, value in document["data"].items() if "\n" in value.strip("\n")]
    for claim in document.get("spec", {}).get("volumeClaimTemplates", []):
        found += [f"{field} of {claim}" for field in ("apiVersion", "kind", "status") if field not in claim]
        found += [] if "volumeMode" in claim["spec"] else [f"volumeMode of {claim}"]
    return found


def _added(value: Any, schema: Document, *, within: bool) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _added(item, schema.get("items", {}), within=True)
    elif isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield from _added(value[name], inner, within=within)
            elif within and "default" in inner:
                yield f"{name} beside {sorted(value)}"


def _ray_problems(document: Document) -> list[str]:
    where = f"{document['kind']}/{document['metadata']['name']}"
    errors = _ray_schema(document["kind"]).iter_errors(document)
    found = [f"{where}: {list(error.path)}: {error.message[:200]}" for error in errors]
    for template in pods(document):
        found += problems(
            {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": where}, "template": template}
        )
    return found


@functools.cache
def _ray_schemas() -> dict[str, Document]:
    schemas: dict[str, Document] = json.loads((SCHEMAS / "kuberay-1.7.0.json").read_text())
    return schemas


@functools.cache
def _ray_schema(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_strict(_ray_schemas()[kind]))


def _strict(schema: Any) -> Any:
    """A structural schema as a JSON schema that refuses what the API server would prune."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    strict = dict(schema)
    if "properties" in schema:
        strict["properties"] = {name: _strict(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            strict["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            strict[key] = _strict(schema[key])
    return strict
