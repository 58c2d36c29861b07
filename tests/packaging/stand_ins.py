"""Stand-ins for docker, kubectl, helm and kind: they write down how they were called, and answer as a test says."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_RECORDER = """#!/bin/bash
# In one write: another stand-in may be writing at the same time.
line="$(basename "$0")$(printf ' %s' "$@")"
printf '%s\\n' "$line" >> "$STAND_IN_CALLS"
for name in $STAND_IN_SHOW; do
    [ -z "${!name:-}" ] || printf '  %s=%s\\n' "$name" "${!name}" >> "$STAND_IN_CALLS"
done
[ ! -e "$STAND_IN_ANSWERS/$(basename "$0")" ] || . "$STAND_IN_ANSWERS/$(basename "$0")"
"""


@dataclass(slots=True)
class StandIns:
    """A folder of commands that go before the real ones.

    Attributes:
        show: variables whose value is written down below each call, where they are set.
    """

    folder: Path
    show: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir()
        (self.folder / "answers").mkdir()
        (self.folder / "calls").touch()

    def add(self, *names: str, answer: str = "", record: bool = True) -> None:
        """Commands that run `answer`, a piece of Bash that sees their arguments."""
        for name in names:
            command = self.folder / "bin" / name
            command.write_text(_RECORDER if record else f"#!/bin/bash\n{answer}\n")
            command.chmod(0o755)
            (self.folder / "answers" / name).write_text(answer)

    def run(
        self, *command: str | Path, cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        kept = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "LANG", "TMPDIR")}
        environment = {
            **kept,
            "PATH": f"{self.folder / 'bin'}:{kept['PATH']}",
            "STAND_IN_CALLS": str(self.folder / "calls"),
            "STAND_IN_ANSWERS": str(self.folder / "answers"),
            "STAND_IN_SHOW": " ".join(self.show),
            **self.environment,
            **variables,
        }
        return subprocess.run(
            [str(part) for part in command],
            env=environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def calls(self) -> list[str]:
        """What was called, and forget it."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines()
        log.write_text("")
        return lines
