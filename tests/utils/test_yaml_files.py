"""Reading YAML: a key that comes twice is an error, wherever a file is read."""

import re
from pathlib import Path

import pytest
import yaml

import seedcore
from seedcore.utils.yaml_files import read_yaml


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rules: []\nother: 1\nrules: []\n", 3),
        ("a:\n  b: 1\n  b: 2\n", 3),
        ("- {x: 1, x: 2}\n", 1),
        ('a: 1\n"a": 2\n', 2),
        ("on: 1\ntrue: 2\n", 2),
        ("10: 1\n0xA: 2\n", 2),
    ],
)
def test_a_key_that_comes_twice_is_named_with_its_line(text: str, line: int):
    with pytest.raises(yaml.YAMLError, match=rf"comes twice(?s:.)*line {line},"):
        read_yaml(text)


def test_keys_that_are_merged_in_may_be_set_again():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3}\nd: {1: a, '1': b}\n"
    assert read_yaml(text) == {
        "a": {"x": 1, "y": 1},
        "b": {"x": 2, "y": 1},
        "c": {"x": 2, "y": 3},
        "d": {1: "a", "1": "b"},
    }


@pytest.mark.parametrize("text", ["a: [", b"\xff\xfe\x00", "[" * 2_000, "a: 2026-02-31", "a: !!python/object:os.x {}"])
def test_what_cannot_be_read_is_one_kind_of_error(text: str | bytes):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


def test_every_module_reads_yaml_this_way():
    own = re.compile(r"yaml\.(safe_load|load|full_load|unsafe_load)")
    root = Path(seedcore.__file__).parent
    readers = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if own.search(path.read_text())}
    assert readers == {"utils/yaml_files.py"}
