"""Write the dashboards and alert rules of this folder: `python deploy/observability/render.py` (`--check`: exit with 1
where a file is not what it would write; tests/packaging runs the check).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from alerts import RULES
from panels import DASHBOARDS, Panel

HERE = Path(__file__).resolve().parent


def dashboard(name: str, title: str, panels: list[Panel]) -> dict[str, Any]:
    """The JSON of Grafana's model, schema version 39 (Grafana 10 and newer)."""
    return {
        "uid": f"seedcore-{name}",
        "title": title,
        "tags": ["seedcore"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}]
        },
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "SeedCore", "tags": ["seedcore"], "asDropdown": True, "includeVars": True}
        ],
        "panels": list(_placed(panels)),
    }


def _placed(panels: list[Panel]) -> Iterator[Panel]:
    """Numbers in a row of four, graphs in rows of two."""
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        width, height = (6, 4) if panel["type"] == "stat" else (12, 8)
        if x + width > 24:
            x, y = 0, y + height
        source = {"type": "prometheus", "uid": "${datasource}"}
        targets = [
            {"refId": chr(65 + at), "datasource": source, "expr": expression, "legendFormat": legend or "__auto"}
            for at, (expression, legend) in enumerate(panel["targets"])
        ]
        yield {
            "id": number,
            "type": panel["type"],
            "title": panel["title"],
            "description": panel["description"],
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": {"unit": panel["unit"], "min": 0}, "overrides": []},
            "options": {},
            "targets": targets,
        }
        x += width
        if x == 24:
            x, y = 0, y + height


def rendered() -> dict[Path, str]:
    """What each file ought to hold."""
    head = "# Rendered by deploy/observability/render.py: change that.\n"
    operator = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "seedcore", "labels": {"app.kubernetes.io/part-of": "seedcore"}},
        "spec": RULES,
    }
    found = {
        HERE / "rules" / "seedcore.yml": head + _yaml(RULES),
        HERE / "prometheus-rule.yaml": head + _yaml(operator),
    }
    for name, (title, panels) in DASHBOARDS.items():
        text = json.dumps(dashboard(name, title, panels), indent=1)
        found[HERE / "dashboards" / f"seedcore-{name}.json"] = f"{text}\n"
    return found


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, width=1000)
    return text


def main() -> int:
    """Write, or check."""
    check = "--check" in sys.argv[1:]
    stale = {path: text for path, text in rendered().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if not check:
            path.write_text(text)
        sys.stdout.write(f"{'stale' if check else 'wrote'}: {path.relative_to(HERE)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
