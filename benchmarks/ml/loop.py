"""`python -m benchmarks.ml.loop`: does a model whose world changes become good again, and how soon?

Three ways to live with the same stream of tasks: never retrain, retrain every so many labelled tasks and answer with
the new version at once, and SeedCore's loop. The loop is the product's own: monitors, triage with its policy, the
retraining, the gate; on a real PostgreSQL, in this process, without HTTP, Ray or workers. Labels come `--delay` tasks
after their prediction. Rows are dated back by a second, so that nothing waits for the half second that rows of workers
may be late. Needs the extras `demo`; the real stream needs `pip install --no-deps nannyml==0.13.1`, which has the data.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ml.loop_streams import LABEL, LabelledStream, breast_cancer, digits, employment, employment_folder
from benchmarks.ml.loop_world import LoopWorld
from benchmarks.queue.common import fresh_database
from seedcore.ml.data import inline_rows
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.training.train import train
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.telemetry.logs import configure_logs

PARAMS: dict[str, object] = {"num_boost_round": 60, "max_depth": 4}
CHUNK = 25
ROWS = 2_000
"""The newest labelled rows that a retraining uses, in both ways that retrain."""

RECOVERED, WIDTH = 0.05, 200
"""Recovered: from here on the next WIDTH answers are within RECOVERED of the accuracy before the shift."""


@dataclass(slots=True)
class Run:
    """One way through one stream."""

    way: str
    right: list[bool] = field(default_factory=list)
    retrained: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def report(self, stream: LabelledStream) -> dict[str, Any]:
        """As JSON: accuracy before, during (until recovery or the end) and after, and tasks until recovery."""
        right = np.array(self.right, dtype=np.float64)
        found: dict[str, Any] = {"way": self.way, "retrained": self.retrained, "accuracy": float(right.mean())}
        if stream.shift is None:
            parts = np.array_split(right, 6)
            return found | {"sixths": [round(float(part.mean()), 4) for part in parts]} | self.notes
        before, later = float(right[: stream.shift].mean()), right[stream.shift :]
        until = _recovered(later, before)
        during = later if until is None else later[:until]
        after = None if until is None else float(later[until:].mean())
        return found | {
            "before": before,
            "during": float(during.mean()) if len(during) else None,
            "after": after,
            "last_quarter": float(later[len(later) // 2 :].mean()),
            "tasks_until_recovery": until,
            **self.notes,
        }


def _recovered(later: "np.ndarray[Any, Any]", before: float) -> int | None:
    sums = np.concatenate([[0.0], np.cumsum(later)])
    for start in range(len(later) - WIDTH + 1):
        if (sums[start + WIDTH] - sums[start]) / WIDTH >= before - RECOVERED:
            return start
    return None


def table_of(stream: LabelledStream, rows: Sequence[list[object]]) -> Table:
    """Rows as a training set."""
    return inline_rows.from_rows(
        [*stream.columns, LABEL], [list(row) for row in rows], ColumnRoles(LABEL), TrainLimits.of(load_settings())
    )


def fitted(stream: LabelledStream, rows: Sequence[list[object]]) -> LoadedModel:
    """A model of rows, without a store."""
    table = table_of(stream, rows)
    trained = train(table, resolve_params(PARAMS), threading.Event())
    facts = {
        "name": "bench",
        "version": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "task": trained.task,
        "features": list(table.columns),
        "label_column": LABEL,
        "label_kind": table.label_kind,
        "labels": list(table.labels),
        "params": trained.params,
        "metrics": trained.metrics,
        "n_rows": len(rows),
        "sha256": "",
        "size_bytes": 0,
        "xgboost_version": "",
        "columns": list(table.schema),
    }
    return LoadedModel(ModelManifest.model_validate(facts), trained.ubj)


def chunks(stream: LabelledStream) -> Iterator[list[list[object]]]:
    """The stream's rows, CHUNK at a time."""
    for start in range(0, len(stream.later), CHUNK):
        yield [list(row) for row in stream.later[start : start + CHUNK]]


def without_loop(stream: LabelledStream, delay: int, every: int | None) -> Run:
    """Never retrained, or every `every` labelled tasks on the newest ROWS, and then answering at once."""
    run = Run("never" if every is None else f"every {every}")
    model, seen, trained_at = fitted(stream, stream.train), list[list[object]](), 0
    for chunk in chunks(stream):
        answers = model.answer(model.encode([row[:-1] for row in chunk]).matrix)
        run.right += [answer[0] == row[-1] for answer, row in zip(answers, chunk, strict=True)]
        seen += chunk
        labelled = len(seen) - delay
        if every is not None and labelled - trained_at >= every:
            known = [*stream.train, *seen[:labelled]]
            model, trained_at = fitted(stream, known[-ROWS:]), labelled
            run.retrained += 1
    return run


async def with_loop(stream: LabelledStream, delay: int, dsn: str, folder: Path) -> Run:
    """SeedCore's loop."""
    run = Run("loop")
    world = await LoopWorld.begin(dsn, folder, stream.name.replace(" ", "-"), ROWS)
    try:
        await world.first(table_of(stream, stream.train), resolve_params(PARAMS))
        waiting = list[tuple[str, object]]()
        for number, chunk in enumerate(chunks(stream)):
            answers = await world.predict([row[:-1] for row in chunk])
            run.right += [answer == row[-1] for (_, answer), row in zip(answers, chunk, strict=True)]
            waiting += [(task, row[-1]) for (task, _), row in zip(answers, chunk, strict=True)]
            due = max(len(waiting) - delay, 0)
            await world.tell(waiting[:due])
            waiting = waiting[due:]
            await world.step((number + 1) * CHUNK)
        run.retrained, run.notes = world.retrained, {"events": world.events}
    finally:
        await world.aclose()
    return run


def streams(options: argparse.Namespace) -> list[LabelledStream]:
    """The streams that are there."""
    found = [digits(options.tasks, options.seed), breast_cancer(options.tasks, options.seed)]
    folder = options.employment or employment_folder()
    if folder is None:
        print("no nannyml, so no real stream: pip install --no-deps nannyml==0.13.1", file=sys.stderr)
    else:
        found.append(employment(folder, options.tasks, options.seed))
    return found


async def measure(options: argparse.Namespace, dsn: str, folder: Path) -> list[dict[str, Any]]:
    """All ways through all streams."""
    rows = []
    for number, stream in enumerate(streams(options)):
        own = await fresh_database(dsn, f"bench_loop_{number}")
        await asyncio.to_thread(migrate, load_settings(pg_dsn=own))
        runs = [await asyncio.to_thread(without_loop, stream, options.delay, n) for n in (None, options.every)]
        began = time.perf_counter()
        runs.append(await with_loop(stream, options.delay, own, folder))
        seconds = time.perf_counter() - began
        found = {"stream": stream.name, "shift": stream.what, "at": stream.shift, "tasks": len(stream.later)}
        rows.append(found | {"ways": [run.report(stream) for run in runs], "loop_s": round(seconds, 1)})
        print(f"{stream.name} done in {seconds:.0f} s", file=sys.stderr, flush=True)
    return rows


def main() -> int:
    """Measure, and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ml.loop", description=__doc__)
    parser.add_argument("--tasks", type=int, default=6_000, help="tasks of each stream")
    parser.add_argument("--every", type=int, default=1_000, help="labelled tasks of the day, for retraining daily")
    parser.add_argument("--delay", type=int, default=50, help="tasks after which a label comes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the JSON (default: standard output, between log lines)")
    parser.add_argument("--employment", type=Path, help="folder of the employment set (default: nannyml's)")
    options = parser.parse_args()
    configure_logs(load_settings(log_level="ERROR"))
    folder = Path(tempfile.mkdtemp(prefix="scl"))
    server = embedded_postgres(load_settings(data_dir=folder / "data"))
    try:
        found = json.dumps(asyncio.run(measure(options, server.acquire(), folder)), indent=1)
        if options.out is None:
            print(found)
        else:
            options.out.write_text(found)
    finally:
        server.release()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
