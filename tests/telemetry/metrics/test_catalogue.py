"""The list of metrics itself."""

import re

from seedcore.telemetry.metrics.catalogue import BY_NAME, CATALOGUE


def test_every_metric_is_well_formed() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    for spec in CATALOGUE:
        assert re.fullmatch(r"seedcore_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.kind == "counter"), spec.name
        assert (len(spec.bounds) == 10) == (spec.kind == "histogram"), spec.name
        assert list(spec.bounds) == sorted(set(spec.bounds))
        assert spec.help.endswith(".")
        assert "\n" not in spec.help
        assert len(set(spec.labels)) == len(spec.labels)
        assert "le" not in spec.labels
