"""200 questions about SeedCore's own documentation, each with the sections that answer it.

They were written from reading the pages, before any search existed. `wording` is `text` for those that use the page's
words, and `own` for those that say it in other ones; there are 100 of each.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUERIES = Path(__file__).with_name("queries.jsonl")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of a page, and the text below it down to the next heading."""

    file: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A question; `answers` are (file, heading) of the sections that answer it, any of which will do."""

    query: str
    answers: frozenset[tuple[str, str]]
    wording: str


def read_queries() -> list[LabelledQuery]:
    items = [json.loads(line) for line in QUERIES.read_text().splitlines()]
    return [
        LabelledQuery(
            item["query"],
            frozenset((answer["file"], answer["heading"]) for answer in item["answers"]),
            item["wording"],
        )
        for item in items
    ]


def read_sections(root: Path = ROOT) -> Iterator[Section]:
    """Every section of every page of docs/."""
    for path in sorted((root / "docs").rglob("*.md")):
        file, heading, lines, code = str(path.relative_to(root)), "", [], False
        for line in path.read_text().splitlines():
            code ^= line.startswith("```")
            if not code and (found := re.match(r"#+ (.+)", line)):
                yield from [Section(file, heading, "\n".join(lines).strip())] * bool(heading)
                heading, lines = found[1], []
            else:
                lines.append(line)
        yield Section(file, heading, "\n".join(lines).strip())
