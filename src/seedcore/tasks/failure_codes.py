"""Failure codes: every code that a task fails, is retried or is cancelled with, its meaning and what to do.

`docs/errors.md` is generated from here (`make docs`). A task may also carry the code of an error that its skill raised:
one of `seedcore.errors`, or the skill's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Outcome = Literal["failed", "retried", "cancelled"]


class FailureCode(StrEnum):
    """Why an attempt or a task did not complete; stored as `error.code`, and in `retried` events as `code`."""

    ANSWER_UNUSABLE = "answer_unusable"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_REJECTED = "approval_rejected"
    BUDGET_EXCEEDED = "budget_exceeded"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    DECISION_REFUSED = "decision_refused"
    FAILED = "failed"
    HOLD_NOT_STORABLE = "hold_not_storable"
    HOST_BLOCKED = "host_blocked"
    HOST_LOST = "host_lost"
    HOST_SILENT = "host_silent"
    INPUT_MISSING = "input_missing"
    INVALID_PARAMS = "invalid_params"
    LEASE_EXPIRED = "lease_expired"
    NEED_SKIPPED = "need_skipped"
    PLAN_FAILED = "plan_failed"
    PLAN_UNUSABLE = "plan_unusable"
    PLANNED_ANEW = "planned_anew"
    POLICY_REJECTED = "policy_rejected"
    RESULT_NOT_STORABLE = "result_not_storable"
    SKILL_FAILED = "skill_failed"
    SKILL_PROCESS_DIED = "skill_process_died"
    SKILL_TIMEOUT = "skill_timeout"
    STEP_FAILED = "step_failed"


NOT_FAILURES_OF_THE_WORK = (
    FailureCode.POLICY_REJECTED,
    FailureCode.APPROVAL_REJECTED,
    FailureCode.APPROVAL_EXPIRED,
    FailureCode.BUDGET_EXCEEDED,
    FailureCode.STEP_FAILED,
)
"""Codes of tasks that people, policy, a budget or a failed step ended: statistics of the work leave them out."""


@dataclass(frozen=True, slots=True)
class FailureNote:
    """What is known of a failure code.

    Attributes:
        outcomes: what becomes of the task. `retried`: it is tried again while attempts are left, and failed after that.
        meaning: what happened.
        action: what to do.
    """

    outcomes: tuple[Outcome, ...]
    meaning: str
    action: str


_FAILED: tuple[Outcome, ...] = ("failed",)
_RETRIED: tuple[Outcome, ...] = ("retried", "failed")
_CANCELLED: tuple[Outcome, ...] = ("cancelled",)

NOTES: Mapping[FailureCode, FailureNote] = {
    FailureCode.ANSWER_UNUSABLE: FailureNote(
        _RETRIED,
        "The host's answer for this task could not be read.",
        "Read the message. Hosts and workers of different releases do this: restart those of the older one.",
    ),
    FailureCode.APPROVAL_EXPIRED: FailureNote(
        _FAILED,
        "The task was neither approved nor rejected in time.",
        "Submit or retry it, and answer in time; `SEEDCORE_APPROVAL_S` sets how long it waits.",
    ),
    FailureCode.APPROVAL_REJECTED: FailureNote(
        _FAILED, "A person rejected the task.", "The message has the reason. Submit it again once that is settled."
    ),
    FailureCode.BUDGET_EXCEEDED: FailureNote(
        ("failed", "cancelled"),
        "The plan used more steps, time, tokens or money than its budget allows; its open steps were cancelled.",
        "Raise `params.budget`, up to the settings `SEEDCORE_MAX_PLAN_*`, or ask for less.",
    ),
    FailureCode.CANCELLED: FailureNote(
        _CANCELLED, "A client cancelled the task, or the task above it.", "Nothing; `retry` runs it again."
    ),
    FailureCode.DEADLINE_EXCEEDED: FailureNote(
        ("failed", "cancelled"),
        "The task had not ended by its `deadline`; the open steps of its plan were cancelled.",
        "Set a later deadline, or look at what the task waited for (`GET /api/v1/queue`). `retry` drops the deadline.",
    ),
    FailureCode.DECISION_REFUSED: FailureNote(
        _RETRIED,
        "The worker could not decide about the task: what is stored of it cannot be used.",
        "The message says why. Submit the task again; the other tasks of its batch ran.",
    ),
    FailureCode.FAILED: FailureNote(
        _RETRIED, "The host reported a failure and gave no code.", "Look at the host's log for that task id."
    ),
    FailureCode.HOLD_NOT_STORABLE: FailureNote(
        _FAILED,
        "The task was to wait for approval, and PostgreSQL refused to store that.",
        "The message has PostgreSQL's reason.",
    ),
    FailureCode.HOST_BLOCKED: FailureNote(
        _RETRIED,
        "The skill blocked its host's event loop, and the host gave up on it.",
        "The skill computes without `await`: write it as a plain `def`, which runs in a thread or a process.",
    ),
    FailureCode.HOST_LOST: FailureNote(
        _RETRIED,
        "The worker or agent host that ran the task ended.",
        "Look for what killed it: memory (OOMKilled), a skill that ends its process, a node that was lost.",
    ),
    FailureCode.HOST_SILENT: FailureNote(
        _RETRIED,
        "The worker or agent host that ran the task did not answer within its time limit.",
        "Look at the host's node and log: an overloaded node, or a skill that blocks the process.",
    ),
    FailureCode.INPUT_MISSING: FailureNote(
        _FAILED,
        "A step takes a field of an earlier step's result, and that result does not have it.",
        "Compare the result with the skill's declared result; correct the skill or the plan.",
    ),
    FailureCode.INVALID_PARAMS: FailureNote(
        _FAILED,
        "The params do not fit the skill's model.",
        "The message names the fields. Correct the params and submit the task again.",
    ),
    FailureCode.LEASE_EXPIRED: FailureNote(
        _RETRIED,
        "The worker that held the task sent no heartbeat for `SEEDCORE_LEASE_S`, and its leases were taken back.",
        "Look for what killed the worker: memory (OOMKilled), a skill that ends its process, a node that was lost.",
    ),
    FailureCode.NEED_SKIPPED: FailureNote(
        _CANCELLED,
        "The step needs the result of a step that failed and was skipped (`on_failure: skip`).",
        "Look at the skipped step; its failure is the cause.",
    ),
    FailureCode.PLAN_FAILED: FailureNote(
        _CANCELLED,
        "Another step of the plan failed, so this one was not run.",
        "Look at the failed step, and retry the plan's task.",
    ),
    FailureCode.PLAN_UNUSABLE: FailureNote(
        _RETRIED,
        "The Cognitive service answered with a plan that cannot be read or stored.",
        "The message says what is wrong. Services and workers of different releases do this.",
    ),
    FailureCode.PLANNED_ANEW: FailureNote(
        _CANCELLED,
        "A step failed and the plan was made again (`on_failure: replan`); this step belongs to the earlier plan.",
        "Nothing; the task's new steps are in `GET /api/v1/tasks/{id}/plan`.",
    ),
    FailureCode.POLICY_REJECTED: FailureNote(
        _FAILED,
        "A policy rule rejected the task, or no skill has its type.",
        "`decision.rule` names the rule. Change the policy, or load the skill (`SEEDCORE_SKILLS`).",
    ),
    FailureCode.RESULT_NOT_STORABLE: FailureNote(
        _FAILED,
        "PostgreSQL refused to store the task's result.",
        "The message has PostgreSQL's reason. The skill ran: check its effects before a retry.",
    ),
    FailureCode.SKILL_FAILED: FailureNote(
        _RETRIED,
        "The skill raised an exception, or returned something other than it declares.",
        "The message has the exception; the traceback is in the host's log.",
    ),
    FailureCode.SKILL_PROCESS_DIED: FailureNote(
        _RETRIED,
        "The process that ran the skill ended during the call.",
        "The message has the signal or exit status. Look for memory, and for `os._exit` in the skill or its libraries.",
    ),
    FailureCode.SKILL_TIMEOUT: FailureNote(
        _RETRIED,
        "The attempt took longer than its time limit.",
        "Raise `timeout_s` of the task or the skill, or `SEEDCORE_SKILL_TIMEOUT_S`; or make the work smaller.",
    ),
    FailureCode.STEP_FAILED: FailureNote(
        _RETRIED,
        "A step of the task's plan did not complete. Retried: the plan is made again without that step's skill.",
        "The message names the step. Look at its error, correct the cause, and retry the plan's task.",
    ),
}
