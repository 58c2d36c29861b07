"""Concurrency limits of one host: the settings, and what its organ overrides."""

from pydantic import BaseModel, ConfigDict, Field

from seedcore.settings import Settings


class HostLimits(BaseModel):
    """An organ's own limits (`limits:` in the organs file); where it gives none, the setting applies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent_concurrency: int | None = Field(
        None, ge=1, le=100_000, description="tasks that one agent runs at once; unset: SEEDCORE_AGENT_CONCURRENCY"
    )
    host_concurrency: int | None = Field(
        None, ge=1, le=100_000, description="async tasks that one host runs at once; unset: SEEDCORE_HOST_CONCURRENCY"
    )
    host_threads: int | None = Field(
        None, ge=1, le=1000, description="blocking skills that one host runs at once; unset: SEEDCORE_HOST_THREADS"
    )
    host_processes: int | None = Field(
        None, ge=1, le=256, description="skills in processes that one host runs at once; unset: SEEDCORE_HOST_PROCESSES"
    )

    def override(self, settings: Settings) -> Settings:
        """`settings` with these limits in place of its own."""
        return settings.model_copy(update=self.model_dump(exclude_none=True))
