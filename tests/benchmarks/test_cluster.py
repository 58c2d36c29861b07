"""The benchmark of the API server, where it has none: why it skips."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import cluster


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(cluster.FOLDER, raising=False)

    def add(*names: str) -> None:
        for name in names:
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)

    return add


TOOLS = ("etcd", "kubectl", "openssl")


@pytest.mark.parametrize("absent", TOOLS)
def test_the_cluster_skips_without_its_tools(on_path: Callable[..., None], absent: str):
    on_path(*(name for name in TOOLS if name != absent))
    assert str(cluster.missing()).startswith(f"{absent} is missing: install ")


def test_the_cluster_skips_without_the_folder_of_its_binaries(
    on_path: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    on_path(*TOOLS)
    monkeypatch.setattr("sys.argv", ["cluster"])
    assert cluster.main() == cluster.SKIPPED
    assert capsys.readouterr().out.startswith(
        "skipped: SEEDCORE_KUBE_BINARIES is not set: a folder with kube-apiserver"
    )


def test_the_cluster_skips_with_half_a_folder(
    on_path: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    on_path(*TOOLS)
    folder = tmp_path / "binaries"
    folder.mkdir()
    monkeypatch.setenv(cluster.FOLDER, str(folder))
    for program in ("kube-apiserver", "kuberay-operator"):
        assert str(cluster.missing()).startswith(f"{folder / program} is missing or cannot be run")
        (folder / program).touch(mode=0o755)
    assert "CRDs" in str(cluster.missing())
    (folder / "ray.io_rayclusters.yaml").touch()
    assert cluster.missing() is None


def test_the_cluster_applies_every_overlay():
    assert cluster.OVERLAYS == ["dev", "llm", "prod", "raycluster", "shared-platform"]
    assert all((Path(cluster._path(overlay)) / "kustomization.yaml").is_file() for overlay in cluster.OVERLAYS)
