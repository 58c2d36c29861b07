"""Imports modules with skills once in a process of their own, before anything is started.

User code runs on import: it may raise, end its process, or never return. A child process shows which, and the launcher
imports none of it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import IO

from seedcore.errors import SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.skills.registry import SkillRegistry, from_module, module_sources
from seedcore.telemetry.logs import mask

SLOW_S = 1.0
"""An import that takes longer is named while it runs."""

LIMIT_S = 60.0
"""An import that takes longer is an error: no worker would ever start."""

START_S = 120.0
"""Longest time until the child imports the first module: its own imports, on a busy machine."""


def check_skills(
    settings: Settings,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    *,
    slow_s: float = SLOW_S,
    limit_s: float = LIMIT_S,
) -> None:
    """Check that every module that SEEDCORE_SKILLS or an entry point names can be imported and defines skills.

    Raises:
        SettingsError: names the module, where it is named, and what its import did.
    """
    modules = module_sources(settings)
    if not modules:
        return
    reading, writing = os.pipe()
    # Unbuffered: `select` must see every line that has not been read.
    with os.fdopen(reading, "rb", buffering=0) as report, tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "seedcore.cli.skill_imports", str(writing)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        try:
            _follow(child.pid, report, output, dict(modules), say, slow_s, limit_s)
        finally:
            # Also ends what the import itself has started.
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _follow(
    pid: int,
    report: IO[bytes],
    output: IO[bytes],
    sources: Mapping[str, str],
    say: Callable[[str], None],
    slow_s: float,
    limit_s: float,
) -> None:
    """Read what the child reports, until it is done or the time is over."""
    began, current, current_limit_s = time.monotonic(), "the package seedcore.skills", START_S
    while True:
        line = _line(report, began + slow_s)
        if line is None:
            say(f"  {time.monotonic() - began:3.0f} s  waiting for the import of {current}")
            line = _line(report, began + current_limit_s)
        if line is None:
            raise SettingsError(
                f"{current} has not been imported within {current_limit_s:g} s. A module with skills must not wait, "
                "serve or loop when it is imported: do that inside a skill."
            )
        if not line:
            raise SettingsError(f"{current} ended its process when it was imported ({_end(pid, output)}).")
        message = json.loads(line)
        if "error" in message:
            raise SettingsError(message["error"])
        if "done" in message:
            return
        name = message["module"]
        began, current, current_limit_s = time.monotonic(), f"{sources[name]}: module {name!r}", limit_s


def _line(report: IO[bytes], deadline: float) -> bytes | None:
    """The next line, an empty one at the report's end; None when none came in time."""
    ready, _, _ = select.select([report], [], [], max(0.0, deadline - time.monotonic()))
    return report.readline() if ready else None


def _end(pid: int, output: IO[bytes]) -> str:
    """How the child ended, and its last line. It stays a zombie: its group's id must not be given to others yet."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    how = f"{'exit status' if ended.si_code == os.CLD_EXITED else 'signal'} {ended.si_status}"
    output.seek(0)
    last = output.read()[-500:].decode(errors="replace").strip().splitlines()
    return f"{how}: {mask(last[-1])}" if last else how


def main() -> None:
    """In the child: import all, and report each step on the file descriptor that the command line names."""
    os.set_inheritable(descriptor := int(sys.argv[1]), False)
    with os.fdopen(descriptor, "w", encoding="utf-8") as report:

        def send(**message: object) -> None:
            print(json.dumps(message), file=report, flush=True)

        settings = get_settings()
        try:
            for name, source in module_sources(settings):
                send(module=name)
                from_module(name, source)
            SkillRegistry.load(settings)
        except SettingsError as error:
            send(error=error.detail)
        else:
            send(done=True)


if __name__ == "__main__":
    main()
