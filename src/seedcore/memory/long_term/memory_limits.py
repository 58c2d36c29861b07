"""The bounds of long-term memory; imports nothing, because the public client holds them, too."""

ALL = "all"
"""The scope that everything of a tenant may read."""
SCOPE = r"all|(agent|organ|domain):[^\s\x00-\x1f:][^\x00-\x1f]{0,127}"
SOURCE = r"[a-z][a-z0-9_.-]{0,63}"
MAX_TEXT_CHARS = 8_192
MAX_TAGS, MAX_TAG_CHARS = 16, 64
MAX_METADATA_BYTES = 16 * 1024
MAX_ITEMS = 256
MAX_K = 100
MAX_SCOPES = 16
