"""Settings of workers: dispatchers, leases, the reaper, and what runs on a host."""

from typing import ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import SettingsGroup


class WorkerSettings(SettingsGroup):
    """Workers: dispatchers, leases, the reaper, and what runs on a host."""

    title: ClassVar[str] = "Worker"

    dispatchers: int = Field(
        2,
        ge=0,
        le=256,
        validation_alias=AliasChoices("SEEDCORE_DISPATCHERS"),
        description="Workers on the queue `default`.",
    )
    workers_per_node: int | None = Field(
        None,
        ge=1,
        le=64,
        validation_alias=AliasChoices("SEEDCORE_WORKERS_PER_NODE"),
        description="Workers on the queue `default` for each living node, in place of SEEDCORE_DISPATCHERS.",
    )
    graph_dispatchers: int = Field(
        1,
        ge=0,
        le=256,
        validation_alias=AliasChoices("SEEDCORE_GRAPH_DISPATCHERS"),
        description="Workers on the queue `graph`: they run the skills of the graph, and one of them keeps it current.",
    )
    claim_batch: int = Field(
        500,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("SEEDCORE_CLAIM_BATCH"),
        description="Maximum of tasks claimed at once.",
    )
    dispatcher_room: int = Field(
        2000,
        ge=1,
        le=100_000,
        validation_alias=AliasChoices("SEEDCORE_DISPATCHER_ROOM"),
        description="Maximum of tasks that a dispatcher holds.",
    )
    slow_slots: int = Field(
        8,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("SEEDCORE_SLOW_SLOTS"),
        description="Slow tasks (planning, LLM work) a dispatcher runs at once; they wait in a lane of their own.",
    )
    lease_s: float = Field(
        15.0,
        ge=1,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_LEASE_S"),
        description="Leases expire this long after the last heartbeat.",
    )
    poll_s: float = Field(
        3.0,
        gt=0,
        le=60,
        validation_alias=AliasChoices("SEEDCORE_POLL_S"),
        description="Idle dispatchers poll this often even without a NOTIFY.",
    )
    ageing_s: float = Field(
        60.0,
        ge=0,
        le=86_400,
        validation_alias=AliasChoices("SEEDCORE_AGEING_S"),
        description="After this wait, tasks below the best priority have one of twenty places in claims; 0: never.",
    )
    reap_s: float = Field(
        2.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_REAP_S"),
        description="Pause between two rounds of the reaper.",
    )
    host_concurrency: int = Field(
        256,
        ge=1,
        le=100_000,
        validation_alias=AliasChoices("SEEDCORE_HOST_CONCURRENCY"),
        description="Async skills that run at once on a host; blocking ones and processes have slots of their own.",
    )
    host_threads: int = Field(
        16,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("SEEDCORE_HOST_THREADS"),
        description="Blocking skills (plain `def`) that run at once on a host, each in a thread.",
    )
    host_processes: int = Field(
        2,
        ge=1,
        le=256,
        validation_alias=AliasChoices("SEEDCORE_HOST_PROCESSES"),
        description="CPU-heavy skills (`process=True`) that run at once on a host, each in a process.",
    )
    host_blocked_s: float = Field(
        10.0,
        ge=0.5,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_HOST_BLOCKED_S"),
        description="A host is replaced when a skill has blocked its event loop for this long.",
    )
    snapshot_max_age_s: float = Field(
        60.0,
        gt=0,
        le=31_536_000,
        validation_alias=AliasChoices("SEEDCORE_SNAPSHOT_MAX_AGE_S"),
        description="Over this age of a worker's snapshot the policy's `stale_snapshot` holds (default: go on).",
    )
    poison_after: int = Field(
        3,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("SEEDCORE_POISON_AFTER"),
        description="A skill that was running in so many processes that ended within a minute is quarantined: it runs "
        "in a host of its own, one task at a time.",
    )
    poison_release_s: float = Field(
        3600.0,
        ge=1,
        le=31_536_000,
        validation_alias=AliasChoices("SEEDCORE_POISON_RELEASE_S"),
        description="A quarantine ends after this long, unless the skill has ended its process again.",
    )
