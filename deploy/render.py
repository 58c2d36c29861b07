"""Write the Ray manifests: deploy/cluster.yaml and serve_config/prod.yaml, with the names of deploy/names.yaml.

`python deploy/render.py` writes them, `python deploy/render.py --check` exits with 1 where one is not what it would
write. tests/packaging runs the check.
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
KUSTOMIZE = ROOT / "deploy" / "kustomize"
RAYSERVICE = KUSTOMIZE / "base" / "rayservice.yaml"
RAYCLUSTER = KUSTOMIZE / "components" / "raycluster" / "raycluster.yaml"
HEADER = "# Rendered by deploy/render.py from {sources}: change those.\n"
LABELS = {"app.kubernetes.io/part-of": "seedcore"}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Manifests are read by people who look for a field, not for where it was said first."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def names() -> dict[str, Any]:
    """deploy/names.yaml."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "names.yaml").read_text())
    return loaded


def ray_version() -> str:
    """As constraints.txt pins it."""
    return _found(r"^ray==(\S+)$", "constraints.txt")


def image() -> str:
    """Name and tag; the tag is SeedCore's version."""
    version = _found(r'^__version__ = "([^"]+)"', "src/seedcore/__init__.py")
    return f"{names()['image']}:{version}"


def cluster() -> dict[str, Any]:
    """The spec of the Ray cluster."""
    said = names()
    spec = yaml.safe_load((ROOT / "deploy" / "cluster.yaml").read_text())
    words = {"IMAGE": image(), "GROUP": said["worker_group"]}
    return {"rayVersion": ray_version(), **_filled(spec, words, said["ports"])}


def serve_config() -> str:
    """serve_config/prod.yaml as it stands, without the comments above it."""
    text = (ROOT / "serve_config" / "prod.yaml").read_text()
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def rendered() -> dict[Path, str]:
    """What each file ought to hold."""
    said = names()
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": said["rayservice"], "labels": LABELS},
        "spec": {"serveConfigV2": serve_config(), "rayClusterConfig": cluster()},
    }
    alone = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": said["raycluster"], "labels": LABELS},
        "spec": cluster(),
    }
    return {
        RAYSERVICE: _page(service, "deploy/cluster.yaml and serve_config/prod.yaml"),
        RAYCLUSTER: _page(alone, "deploy/cluster.yaml"),
    }


def _page(document: dict[str, Any], sources: str) -> str:
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return HEADER.format(sources=sources) + text


def _found(pattern: str, path: str) -> str:
    match = re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit(f"{path} does not match {pattern}")
    return match[1]


def _filled(value: Any, words: dict[str, str], ports: dict[str, int]) -> Any:
    if isinstance(value, dict):
        filled = {key: _filled(inner, words, ports) for key, inner in value.items()}
        if "containerPort" in filled:
            filled["containerPort"] = int(filled["containerPort"])
        return filled
    if isinstance(value, list):
        return [_filled(inner, words, ports) for inner in value]
    if not isinstance(value, str):
        return value
    if value in words:
        return words[value]
    return re.sub(r"\{([a-z_]+)\}", lambda found: str(ports[found[1]]), value)


def main() -> int:
    """Write, or check."""
    check = "--check" in sys.argv[1:]
    stale = [path for path, text in rendered().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(rendered()[path])
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
