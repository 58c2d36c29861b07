"""The dispatcher's ports over Ray: services by their clients, hosts as named actors."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from seedcore.clients.cognitive import CognitiveClient
from seedcore.clients.coordinator import CoordinatorClient
from seedcore.dispatch.ports import Decision, Feedback, HostLostError, HostUnavailableError
from seedcore.settings import Settings
from seedcore.skills.calls import Call, Completion, completions_of, to_columns

_FACTS = ("type", "domain", "priority", "attempt", "size", "approved")


class ServiceBrain:
    """Asks the Coordinator for decisions and the Cognitive service for plans."""

    def __init__(self, settings: Settings, asker: str) -> None:
        self._asker = asker
        self.coordinator = CoordinatorClient(settings, timeout_s=10)
        self.cognitive = CognitiveClient(settings, timeout_s=settings.cognitive_timeout_s + 5)

    async def decide(self, tasks: Sequence[Mapping[str, Any]], feedback: Feedback) -> list[Decision]:
        """One decision for each task, in order; one call for all."""
        told = {
            "outstanding": [{"agent": a, "type": t, "count": n} for (a, t), n in feedback.outstanding.items()],
            "outcomes": [
                {"agent": a, "type": t, "count": n, "seconds": s, "successes": g}
                for (a, t), (n, s, g) in feedback.outcomes.items()
            ],
        }
        columns = {name: [task[name] for task in tasks] for name in _FACTS}
        answer = await self.coordinator.decide_columns(self._asker, columns, told)
        verdicts = answer["verdicts"]
        return [
            Decision(delta_energy=added, **verdicts[n])
            for n, added in zip(answer["verdict"], answer["delta_energy"], strict=True)
        ]

    async def plan(self, goal: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """A plan, as JSON."""
        plan = await self.cognitive.plan_task(goal, dict(inputs))
        return plan if isinstance(plan, dict) else plan.model_dump(mode="json", by_alias=True)

    def fallbacks(self) -> dict[str, int]:
        """Calls that went over HTTP because there was no Serve handle."""
        return {"coordinator": self.coordinator.counts.fallbacks, "cognitive": self.cognitive.counts.fallbacks}


class RayHosts:
    """Runs calls on hosts, found by name in SeedCore's namespace."""

    def __init__(self, settings: Settings) -> None:
        self._namespace = settings.namespace
        self._handles: dict[str, Any] = {}

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        """Run `calls`, yielding completions as they happen; see `ports.Hosts`."""
        begun = False
        try:
            handle = self._handle(host)
            if len(calls) == 1:
                # Nothing to stream: one answer costs half of what a stream of one does.
                yield [await handle.execute.remote(calls[0])]
                return
            generator = handle.run.options(num_returns="streaming").remote(to_columns(calls))
            async for reference in generator:
                begun = True
                yield completions_of(await reference)
        except RayTaskError as error:
            raise HostLostError(f"{type(error.cause).__name__}: {error.cause}") from error
        except ActorUnavailableError as error:
            # Ray cannot say whether the call had begun; an answer seen before says that it had.
            self._handles.pop(host, None)
            kind = HostLostError if begun else HostUnavailableError
            raise kind(str(error)[:200]) from error
        except RayError as error:
            self._handles.pop(host, None)
            raise HostLostError(f"{type(error).__name__}: {str(error)[:200]}") from error

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Cancel running calls; a host that is gone has none."""
        try:
            await self._handle(host).cancel.remote(list(task_ids))
        except (RayError, HostUnavailableError):
            self._handles.pop(host, None)

    def _handle(self, host: str) -> Any:
        if host not in self._handles:
            try:
                self._handles[host] = ray.get_actor(host, namespace=self._namespace)
            except ValueError as error:
                raise HostUnavailableError(f"there is no host {host}") from error
        return self._handles[host]
