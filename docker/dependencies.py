"""Print the requirements of pyproject.toml, so that an image layer can hold them without the code."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
# With those of the extras that tune models and draw plots, and that answer for LLM_PROVIDER=embedded.
extras = [line for name in ("tune", "llm") for line in project["optional-dependencies"][name]]
print(*project["dependencies"], *extras, sep="\n")
