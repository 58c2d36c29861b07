"""Reads YAML: the one way, for every file that users write."""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML forbids duplicate keys; the library would silently keep the last one."""

    def compose_mapping_node(self, anchor: dict[str, yaml.Node]) -> yaml.MappingNode:
        """The mapping as it is written, before `<<` brings keys in that may come twice."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            # As it is read: `on` and `true` are one key.
            name = self.construct_object(key)
            if name in seen:
                raise yaml.composer.ComposerError(None, None, f"key {key.value!r} comes twice", key.start_mark)
            seen.add(name)
        return node


def read_yaml(text: str | bytes) -> Any:
    """The one document that `text` holds; None when it is empty.

    Raises:
        yaml.YAMLError: it is no YAML in UTF-8, nests too deep, or a key comes twice in a mapping; it says where.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (RecursionError, UnicodeDecodeError, ValueError) as error:  # ValueError: a date such as 2026-02-31
        raise yaml.YAMLError(f"it cannot be read: {type(error).__name__}: {error}") from error
