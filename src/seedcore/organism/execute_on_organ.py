"""Running one task on an agent of an organ, past the queue: at most once, and nothing is stored."""

import json
from uuid import uuid4

from seedcore.errors import DeadlineError, FieldError, InvalidInputError, SkillError, UnavailableError
from seedcore.organism.control.host_provisioner import HostProvisioner
from seedcore.organism.control.organism_view import OrganismView
from seedcore.schemas.organism import ExecuteOnOrgan, ExecuteResult, OrganTask
from seedcore.skills.host_protocol import Call
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import SkillSpec


class OrganExecutor:
    """Runs single tasks on organs; the agents of an organ take turns.

    Args:
        skills: every known skill.
        view: says which organ runs a skill, and where its agents live.
        hosts: runs the call.
    """

    def __init__(self, skills: SkillRegistry, view: OrganismView, hosts: HostProvisioner) -> None:
        self._skills, self._view, self._hosts = skills, view, hosts
        self._turn = 0

    async def execute(self, request: ExecuteOnOrgan) -> ExecuteResult:
        """Run a task.

        Raises:
            NotFoundError: there is no such organ or skill.
            InvalidInputError: the skill belongs to another organ, or the params do not fit.
            UnavailableError: the organ has no living host, or it lives in workers and there is none.
            DeadlineError: it took longer than `organ_timeout_s`.
            SkillError: the skill failed.
        """
        spec = self._check(request.organ_id, request.task)
        agent, host = self._next_agent(request.organ_id, spec.name)
        task_id = request.task.id or str(uuid4())
        key = request.task.idempotency_key or task_id
        timeout_s = request.organ_timeout_s
        call = Call(task_id, 0, 1, spec.name, json.dumps(request.task.params), agent, timeout_s, key)
        completion = await self._hosts.execute(host, call, timeout_s)
        if not completion.ok:
            if completion.error_code == "skill_timeout":
                raise DeadlineError(completion.error_message or "the skill took too long")
            raise SkillError(completion.error_message or "the skill failed", skill_code=completion.error_code)
        return ExecuteResult(
            organ_id=request.organ_id,
            agent=agent,
            host=host,
            task_id=task_id,
            result=json.loads(completion.result or "null"),
            seconds=completion.seconds,
        )

    def _check(self, organ: str, task: OrganTask) -> SkillSpec:
        spec = self._skills.find(task.type)
        self._view.organ(organ)
        home = self._view.skill_organs()[spec.name]
        if home != organ:
            message = f"skill {spec.name!r} belongs to organ {home!r}, not {organ!r}"
            raise InvalidInputError.for_field("organ_id", message)
        try:
            self._skills.check(spec.name, task.params)
        except InvalidInputError as error:
            raise InvalidInputError.for_fields(
                [FieldError(f"task.{e.field}", e.message) for e in error.errors]
            ) from None
        return spec

    def _next_agent(self, organ: str, skill: str) -> tuple[str, str]:
        """The next agent in turn, and its host. A quarantined skill has an agent of its own."""
        table = self._view.routing_table()
        own = table["organs"].get(table["skills"][skill])
        if own is None or not own["agents"]:
            raise UnavailableError(f"Organ {organ!r} has no living host for {skill!r}.", retry_after_s=1)
        self._turn += 1
        n = self._turn % len(own["agents"])
        return own["agents"][n], own["hosts"][own["host"][n]]
