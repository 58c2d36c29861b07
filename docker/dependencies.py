"""Print the requirements of pyproject.toml, so that an image layer can hold them without the code."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
# With those of the extra that tunes models and draws plots.
print(*project["dependencies"], *project["optional-dependencies"]["tune"], sep="\n")
