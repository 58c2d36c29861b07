"""`python -m benchmarks.ml [--only predict,train,http,drain,…] [--rounds N] [--json]`: figures of models.

Each stands beside what it is built from; both run in turns on the same machine. A part that needs a whole SeedCore
starts one of its own.
"""

import argparse
import importlib
import json
import sys
from typing import Any

from rich.console import Console

PARTS = ("predict", "train", "http", "drain")
"""Modules of this package with `measure(rounds)` and `report(console, found)`."""
MORE = ("forecast", "gate", "loop", "tuning")
"""Modules with a command line of their own: `python -m benchmarks.ml.NAME`."""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts, and print their tables or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ml", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join((*PARTS, *MORE))}")
    parser.add_argument("--rounds", type=int, default=None, help="turns of each side")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    names = [name.strip() for name in given.only.split(",")]
    if unknown := [name for name in names if name not in (*PARTS, *MORE)]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join((*PARTS, *MORE))}")
    console, found = Console(stderr=given.json, width=120), dict[str, Any]()
    for name in names:
        console.print(f"[bold]{name}[/]")
        module = importlib.import_module(f"benchmarks.ml.{name}")
        if name in MORE:
            saved, sys.argv = sys.argv, [f"benchmarks.ml.{name}"]
            try:
                module.main()
            finally:
                sys.argv = saved
            continue
        found[name] = module.measure() if given.rounds is None else module.measure(given.rounds)
        module.report(console, found[name])
    if given.json:
        sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
