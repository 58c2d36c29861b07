"""`python -m benchmarks.memory NAME …`: the figures of memory; each NAME is a module here with a `main`."""

import importlib
import sys
from pathlib import Path

NAMES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if "\ndef main(" in path.read_text() and path.stem != "__main__"
)

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"python -m benchmarks.memory {{{','.join(NAMES)}}} …")
    name = sys.argv.pop(1)
    importlib.import_module(f"benchmarks.memory.{name}").main()
