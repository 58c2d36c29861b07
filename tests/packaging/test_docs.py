"""docs/operations: what its tables name is there, and its commands fit the manifests."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.packaging.files import DEPLOY, NAMES, ROOT
from tests.packaging.manifests import documents, pods

FOLDER = ROOT / "docs" / "operations"
TABLE = (FOLDER / "README.md").read_text()
PAGES = sorted(FOLDER.glob("*.md"))
BASE = DEPLOY / "kustomize" / "base"
OF_COMMANDS = re.compile(
    "kubectl|docker|compose|helm|curl|exec|get|describe|logs|port-forward|label|apply|run|scale|svc|pods?|nodes|endpoints|"
    "configmaps?|python|env|HEAD|import|os.getenv|true"
)


def test_every_test_that_the_table_names_is_there():
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TABLE)
    assert len(named) > 40
    for path, test in named:
        if path.startswith(("src/", "examples/ray", "bootstraps/bootstrap")):
            continue
        file = ROOT / "tests" / path
        assert file.is_file(), path
        assert not test or re.search(rf"^(async )?def {test}\(", file.read_text(), re.MULTILINE), f"{path}::{test}"


def rows() -> Iterator[tuple[str, str, str]]:
    """What was said, where it lives, and what holds it, of each row that names a test."""
    lives = held = ""
    for line in TABLE.splitlines():
        cells = line.strip("| ").split(" | ")
        if len(cells) == 3 and (".py" in cells[2] or cells[2].startswith("the same")):
            # "the same" is that of the row above.
            lives = lives if cells[1] == "the same" else cells[1]
            held = cells[2] if ".py" in cells[2] else held
            yield cells[0], lives, held


def names_in(cell: str) -> Iterator[str]:
    """Names, ports, variables and files of a cell, without the words of commands."""
    for span in re.findall(r"`([^`]+)`", cell) + re.findall(r"(?<![\w.])(\d{4,5})(?![\w.])", cell):
        for word in re.split(r"[\s,/=:\"'\[\]{}();|]+", span):
            name = word.strip(".$*…").removesuffix("-").removesuffix("-head-svc")
            if len(name) > 2 and not OF_COMMANDS.fullmatch(name) and "<" not in name and not name.startswith("--"):
                yield name


@cache
def text_of(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return "\n".join(file.read_text(errors="replace") for file in files)


@pytest.mark.parametrize(("said", "lives", "held"), list(rows()), ids=lambda cell: cell[:60])
def test_what_holds_a_claim_names_what_it_is_about(said: str, lives: str, held: str):
    """Each name of a claim stands where it lives or in the tests that hold it; of a replaced one, its replacement's."""
    replaced = re.match(r"\*cannot work\*|`kubectl|\d|it does not|with ", lives)
    places = [
        ROOT / place for place in re.findall(r"`((?:docker|deploy|serve_config|bootstraps|examples|src)/[^`]+)`", lives)
    ]
    tests = [ROOT / "tests" / test for test in re.findall(r"`([\w/]+\.py)", held)]
    shared = [ROOT / "tests" / "packaging" / "files.py", DEPLOY / "names.yaml"]
    text = "\n".join(text_of(path) for path in [*places, *tests, *shared] if path.exists())
    assert [name for name in names_in("" if replaced else said) if name not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_link_that_a_page_names_is_there(page: Path):
    text = page.read_text()
    for path in re.findall(r"`((?:docker|deploy|serve_config|bootstraps|examples|src)/[\w./-]+)`", text):
        # Made by the first `up`.
        assert path == "docker/.env" or (ROOT / path).exists() or (ROOT / "tests" / path).exists(), path
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (FOLDER / link).exists(), link


def test_the_patch_that_scales_workers_names_a_field_that_is_there():
    text = (FOLDER / "scaling.md").read_text()
    found = re.search(r"patch raycluster (\w+) --type json -p '(.*?)'", text)
    assert found is not None
    (cluster,) = documents((BASE / "raycluster.yaml").read_text())
    assert found[1] == cluster["metadata"]["name"]
    (step,) = json.loads(found[2])
    assert step["op"] == "replace"
    target = cluster
    for part in step["path"].strip("/").split("/"):
        target = target[int(part)] if isinstance(target, list) else target[part]
    assert target == 1


def test_no_service_has_a_load_balancer():
    files = [*DEPLOY.rglob("*.yaml"), *(ROOT / "tests" / "packaging" / "rendered").glob("*.yaml")]
    for path in files:
        if "templates" in path.parts:
            continue
        for document in documents(path.read_text()):
            if isinstance(document, dict) and document.get("kind") == "Service":
                assert document["spec"].get("type", "ClusterIP") == "ClusterIP", path


def test_names_that_commands_select_by_are_there():
    (cluster,) = documents((BASE / "raycluster.yaml").read_text())
    head, *_ = pods(cluster)
    assert head["spec"]["containers"][0]["name"] == "ray-head"
    (api,) = documents((BASE / "api-deploy.yaml").read_text())
    assert api["spec"]["template"]["metadata"]["labels"]["app"] == "seedcore-api"
    text = " ".join(page.read_text() for page in PAGES)
    # Labels that KubeRay gives; ray.io/component is none of them.
    labels = set(re.findall(r"-l (ray\.io/[\w-]+)", text))
    assert labels <= {"ray.io/cluster", "ray.io/node-type", "ray.io/originated-from-cr-name"}
    for job in re.findall(r"job/([\w-]+)", text):
        assert any(job == d["metadata"]["name"] for d in documents((BASE / "bootstrap.yaml").read_text())), job


def test_arithmetic_of_the_worked_example():
    text = (FOLDER / "capacity.md").read_text()
    average = 1_000_000_000 / 86_400
    path_s, single_s, engine, wal = 2 / 9_185, 0.0178, 33_600, 986
    assert f"{average:,.0f}/s" in text
    assert f"{3 * average:,.0f}/s" in text
    assert f"{3 * average * path_s:.1f} cores" in text
    assert f"{3 * average * single_s:.0f} cores" in text
    assert f"{300 * average / engine:.0f} %: too much" in text
    assert f"{3 * average * wal / 1e6:.0f} MB/s at the peak, {1e9 * wal / 1e12:.2f} TB a day" in text
    cell = average / 8
    assert f"{cell:,.0f}/s, {3 * cell:,.0f}/s each" in text
    assert f"{300 * cell / 9_185:.0f} %" in text
    assert f"{300 * cell / engine:.0f} %" in text
    assert f"{1e9 * wal / 8 / 1e9:.0f} GB a day" in text
    assert f"{average * 0.1:,.0f} cores and the peak {3 * average * 0.1:,.0f}" in text


def test_figures_of_the_capacity_page_are_those_that_were_measured():
    measured = (ROOT / "docs" / "benchmarks.md").read_text()
    for figure in ("9,185/s", "18.9 ms", "33,607", "986", "21,500/s", "1,218 bytes", "1.98 GB", "0.61 s on 1,000"):
        assert figure in measured, f"{figure}: docs/operations/capacity.md computes with it"


def test_the_names_in_the_documents_are_those_of_the_manifests():
    example = yaml.safe_load((BASE / "rayservice.yaml").read_text())
    assert f"`{example['metadata']['name']}`" in TABLE
    assert f"`{NAMES['shared_platform']['raycluster']}`" in TABLE
