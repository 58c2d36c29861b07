"""deploy/observability: dashboards and rules against the metrics that exist, and by Prometheus' own tool."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import promql_parser
import pytest
import yaml

from seedcore.telemetry.metrics.catalogue import BY_NAME, CATALOGUE
from tests.packaging.files import DEPLOY, DOCKER, ROOT, compose
from tests.packaging.manifests import documents, has_kubectl

FOLDER = DEPLOY / "observability"
RULES = yaml.safe_load((FOLDER / "rules" / "seedcore.yml").read_text())["groups"][0]["rules"]
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
FOREIGN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
TARGET = {"job", "instance"}
"""Labels that Prometheus adds to what it scrapes."""


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_observability", FOLDER / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # As for a script, whose folder Python searches.
        patch.syspath_prepend(FOLDER)
        spec.loader.exec_module(module)
    return module


def expressions() -> dict[str, str]:
    """Every expression, by where it is."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                found[f"{name}: {panel['title']} {target['refId']}"] = target["expr"]
    return found


EXPRESSIONS = expressions()


def parsed(expression: str) -> promql_parser.Expr:
    """The expression, with Grafana's variable filled in as Grafana does."""
    return promql_parser.parse(expression.replace("$__rate_interval", "1m"))


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if getattr(node, name, None) is not None:
            yield from selectors(getattr(node, name))
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def labels_of(metric: str) -> set[str]:
    """The labels of a metric, as Prometheus shows it; KeyError: there is none of this name."""
    if metric in FOREIGN:
        return FOREIGN[metric]
    name = metric.removeprefix("ray_")
    if name in BY_NAME:
        if BY_NAME[name].kind == "histogram" or (metric != name and BY_NAME[name].source == "database"):
            raise KeyError(metric)
        return {*BY_NAME[name].labels, *TARGET}
    base, _, ending = name.rpartition("_")
    spec = BY_NAME[base]
    if spec.kind != "histogram" or ending not in ("bucket", "sum", "count"):
        raise KeyError(metric)
    return {*spec.labels, *TARGET, *(("le",) if ending == "bucket" else ())}


def grouped(node: Any) -> Iterator[tuple[set[str], set[str]]]:
    """Labels that an aggregation or a match names, and those that what is below it has."""
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
        there = set().union(*(labels_of(str(selector.name)) for selector in selectors(node.expr)))
        yield set(modifier.labels), there
    for name in ("lhs", "rhs", "expr"):
        if getattr(node, name, None) is not None:
            yield from grouped(getattr(node, name))
    for argument in getattr(node, "args", None) or ():
        yield from grouped(argument)


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(where: str):
    tree = parsed(EXPRESSIONS[where])
    found = list(selectors(tree))
    assert found
    for selector in found:
        wanted = {matcher.name for matcher in selector.matchers.matchers}
        assert wanted <= labels_of(str(selector.name)), selector.name
    for named, there in grouped(tree):
        assert named <= there


@pytest.mark.parametrize(
    "wrong",
    [
        "seedcore_no_such_total",
        "seedcore_claim_seconds",
        "ray_seedcore_queue_depth",
        "seedcore_queue_depth_bucket",
        'seedcore_queue_depth{queues="default"}',
        "sum by (tenant) (seedcore_queue_depth)",
    ],
)
def test_an_expression_that_names_what_does_not_exist_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(EXPRESSIONS, "wrong", wrong)
    with pytest.raises((KeyError, AssertionError)):
        test_an_expression_names_metrics_and_labels_that_exist("wrong")


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_every_metric_is_on_a_dashboard(spec: Any):
    shown = {str(s.name) for where, e in EXPRESSIONS.items() if ".json" in where for s in selectors(parsed(e))}
    assert shown & {spec.name, f"{spec.name}_bucket"}


def test_the_legends_name_labels_that_are_left():
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                outer = [named for named, _ in grouped(parsed(target["expr"]))]
                assert used <= set().union(*outer), f"{name}: {panel['title']}"


def test_every_runbook_is_a_heading(render: ModuleType):
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/operations/incidents.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {rule["annotations"]["runbook_url"].partition("#")[2] for rule in RULES} <= anchors
    assert {rule["annotations"]["runbook_url"].partition("#")[0] for rule in RULES} == {"docs/operations/incidents.md"}


def test_the_files_are_what_render_would_write(render: ModuleType):
    stale = [path.name for path, text in render.rendered().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run `python deploy/observability/render.py`"
    written = {path.name for path in render.rendered() if path.suffix == ".json"}
    assert written == set(DASHBOARDS), "a dashboard that nothing writes"


def test_dashboards_can_be_placed_and_linked():
    """Grafana takes any JSON; what it needs to show panels side by side and to find one again is held here."""
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    for name, board in DASHBOARDS.items():
        assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= board.keys()
        (variable,) = board["templating"]["list"]
        assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert max(x for x, _ in cells) < 24
            assert not cells & taken, f"{name}: {panel['title']}"
            taken |= cells
            assert panel["type"] in ("timeseries", "stat")
            assert panel["fieldConfig"]["defaults"]["unit"] in ("short", "s", "ops", "reqps", "percentunit")
            for target in [panel, *panel["targets"]]:
                assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_compose_provisions_what_is_here():
    services = compose("docker-compose.yml")["services"]
    mounted = {}
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                assert (DOCKER / source).exists()
                mounted[target] = (DOCKER / source).resolve()
    assert mounted["/etc/prometheus/prometheus.yml"] == FOLDER / "prometheus.yml"
    assert mounted["/etc/prometheus/rules"] == FOLDER / "rules"
    (provider,) = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())["providers"]
    assert mounted[provider["options"]["path"]] == FOLDER / "dashboards"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name in DASHBOARDS
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    key = config["scrape_configs"][0]["authorization"]["credentials_file"]
    (script,) = services["prometheus"]["command"]
    assert f"> {key}" in script
    assert f"--config.file={next(p for p in mounted if p.endswith('.yml'))}" in script


@pytest.mark.integration
@pytest.mark.parametrize(("given", "written"), [(("m", "a,b"), "m"), (("", "a,b"), "a"), (("", "a"), "a")])
def test_prometheus_gets_one_key(tmp_path: Path, given: tuple[str, str], written: str):
    """The container's command, run by a shell as its own is."""
    (script,) = compose("docker-compose.yml")["services"]["prometheus"]["command"]
    prometheus = tmp_path / "prometheus"
    prometheus.write_text('#!/bin/sh\nenv; echo "$@"\n')
    prometheus.chmod(0o755)
    line = script.replace("$$", "$").replace("/prometheus/metrics-key", str(tmp_path / "key"))
    line = line.replace("/bin/prometheus", str(prometheus))
    env = {"PATH": "/usr/bin:/bin", "SEEDCORE_METRICS_KEY": given[0], "SEEDCORE_API_KEYS": given[1]}
    ran = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, timeout=20, check=True)
    assert (tmp_path / "key").read_text() == written
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert "SEEDCORE_" not in ran.stdout
    assert "--config.file=/etc/prometheus/prometheus.yml" in ran.stdout


@pytest.fixture
def promtool(require_service: Callable[[bool, str], None]) -> Callable[..., str]:
    found = shutil.which("promtool")
    require_service(found is not None, "promtool (Debian's package prometheus)")

    def run(*arguments: str | Path) -> str:
        ran = subprocess.run([str(found), *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def test_promtool_takes_the_rules_and_every_expression_of_the_dashboards(promtool: Callable[..., str], tmp_path: Path):
    assert f"{len(RULES)} rules found" in promtool("check", "rules", FOLDER / "rules" / "seedcore.yml")
    shown = {e.replace("$__rate_interval", "1m") for where, e in EXPRESSIONS.items() if ".json" in where}
    rules = [{"record": f"shown:{n}", "expr": e} for n, e in enumerate(sorted(shown))]
    (tmp_path / "shown.yml").write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))
    assert f"{len(shown)} rules found" in promtool("check", "rules", tmp_path / "shown.yml")


def test_promtool_takes_the_configuration(promtool: Callable[..., str], tmp_path: Path):
    text = (FOLDER / "prometheus.yml").read_text()
    (tmp_path / "key").write_text("key")
    text = text.replace("/prometheus/metrics-key", str(tmp_path / "key"))
    text = text.replace("/etc/prometheus/rules", str(FOLDER / "rules"))
    (tmp_path / "prometheus.yml").write_text(text)
    assert "1 rule files found" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_every_alert_fires_when_it_should_and_not_before(promtool: Callable[..., str]):
    cases = Path(__file__).parent / "rules_test.yml"
    fires, quiet = set(), set()
    for test in yaml.safe_load(cases.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            (fires if case.get("exp_alerts") else quiet).add(case["alertname"])
    assert fires == quiet == {rule["alert"] for rule in RULES}
    assert "SUCCESS" in promtool("test", "rules", cases)


@pytest.mark.skipif(not has_kubectl(), reason="kubectl is missing")
def test_kustomize_builds_the_component(tmp_path: Path):
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    way = Path(*[".."] * (len(overlay.parts) - 1), *FOLDER.parts[1:])
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"namespace: seedcore-test\ncomponents: [{way}]\n"
    )
    ran = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, timeout=60, check=True)
    built = {d["kind"]: d for d in documents(ran.stdout)}
    assert set(built) == {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    assert set(built["ConfigMap"]["data"]) == set(DASHBOARDS)
    assert built["PrometheusRule"]["spec"]["groups"][0]["rules"] == RULES
    base = DEPLOY / "kustomize" / "base"
    (service,) = documents((base / "api-svc.yaml").read_text())
    monitor = built["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    (cluster,) = documents((base / "raycluster.yaml").read_text())
    (expression,) = built["PodMonitor"]["spec"]["selector"]["matchExpressions"]
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"][expression["key"]] in expression["values"]
        ports = [p["name"] for c in group["template"]["spec"]["containers"] for p in c["ports"]]
        assert built["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["port"] in ports
    jobs = {j["job_name"] for j in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]}
    named = {
        relabel["replacement"]
        for endpoints in (monitor["endpoints"], built["PodMonitor"]["spec"]["podMetricsEndpoints"])
        for endpoint in endpoints
        for relabel in endpoint["relabelings"]
    }
    assert named <= jobs, "the rules name these jobs"
