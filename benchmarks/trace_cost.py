"""What tracing costs a task: `python -m benchmarks.trace_cost`. Processor time, the least of several rounds."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.model import Lease, new_id
from seedcore.telemetry.logs import bind_task, unbind_task
from seedcore.telemetry.traces import pipeline, tracing
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.execution.run_scope import enter_run, record_run
from seedcore.worker.in_flight import HeldLease
from seedcore.worker.measuring.task_traces import TaskTraces

ROUNDS, TASKS = 9, 20_000
DECISION = RouteDecision("fast", "known_skill", "the cheapest of 3", "utility-0001", "w-0", 0.5)


def cost_ns(work: Callable[[], None], count: int = TASKS) -> float:
    """Nanoseconds of processor time of one call."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for _ in range(count):
            work()
        rounds.append((time.process_time_ns() - began) / count)
    return min(rounds)


def measure(name: str, sampler: str | None) -> None:
    """Print the cost of one task: in its dispatcher, and around its skill."""
    taken: list[object] = []
    by = None
    if sampler is not None:
        settings = load_settings(otel_traces_sampler=sampler)
        by = pipeline.made(settings, "w-0", taken.append, lambda _timeout_s: True)
    traces = TaskTraces("w-0", tracing.use(by))
    lease = Lease(
        new_id(), 5, 1, "echo", "{}", None, "default", False, None, 0, 5, None, None, None, None, False,
        datetime.now(UTC), 1,
    )  # fmt: skip
    held = HeldLease(lease, decision=DECISION, begun=time.monotonic())
    task_id = str(lease.id)

    def dispatch() -> None:
        lease.recorded = None
        traces.carried(lease)
        traces.ended(held, None)
        taken.clear()

    call = Call(task_id, 5, 1, "echo", "{}", "a", None, "k", "default", traces.carried(lease))
    done = Completion(task_id, 5, "a", "echo", True, 0.1, "{}")

    def run() -> None:
        bound, trace = bind_task(call), enter_run(call)
        unbind_task(bound)
        if trace is not None:
            trace.leave()
            record_run(trace, call, done, "w-0")
        taken.clear()

    count = TASKS // 10 if sampler == "always_on" else TASKS
    print(f"{name:<28} dispatcher {cost_ns(dispatch, count):8.0f} ns   skill {cost_ns(run, count):8.0f} ns")


def main() -> None:
    """Tracing off; on, for a task that is not recorded; and for one that is."""
    measure("off", None)
    measure("on, task not recorded", "always_off")
    measure("on, task recorded", "always_on")


if __name__ == "__main__":
    main()
