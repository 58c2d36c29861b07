"""Every setting of SeedCore, in one validated class; nothing else reads the environment.

`docs/configuration.md` is generated from this class (`seedcore config docs`), and a test holds the two equal.
"""

import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from seedcore.errors import FieldError, SettingsError


def default_data_dir() -> Path:
    """`/var/lib/seedcore` for root (a server user must be able to reach it), `~/.seedcore` for everybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/seedcore")
    return Path.home() / ".seedcore"


def _env(*names: str) -> Any:
    return AliasChoices(*names)


class _Environment(PydanticBaseSettingsSource):
    """The environment, read by the aliases alone.

    The library's own source would also take `ROLE` or `SKILLS` for the field of that name, and let an empty
    SEEDCORE_NS, as Compose passes it, hide RAY_NAMESPACE.
    """

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """The first variable of the field that is not empty."""
        return next((os.environ[v] for v in env_names(field_name) if os.environ.get(v)), None), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in Settings.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """All settings. A field's aliases are its environment variables, the first one wins."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    # -- where and who -------------------------------------------------------------------------------------
    data_dir: Path = Field(
        default_factory=default_data_dir,
        validation_alias=_env("SEEDCORE_DATA_DIR"),
        description="Folder of the embedded stores, models, logs and the address of the local Ray. "
        "Default: `/var/lib/seedcore` for root, `~/.seedcore` otherwise.",
    )
    role: Literal["head", "worker", "client"] | None = Field(
        None,
        validation_alias=_env("SEEDCORE_ROLE"),
        description="Role of this process's pod or host towards Ray; found out when unset.",
    )
    http_host: str = Field(
        "127.0.0.1",
        validation_alias=_env("SEEDCORE_HTTP_HOST"),
        description="Address that HTTP binds to. Anything but loopback needs SEEDCORE_API_KEYS.",
    )
    http_port: int = Field(
        8000,
        ge=1,
        le=65535,
        validation_alias=_env("SEEDCORE_HTTP_PORT"),
        description="Port of Ray Serve's HTTP.",
    )
    http_mode: Literal["haproxy", "proxy"] = Field(
        "haproxy",
        validation_alias=_env("SEEDCORE_HTTP_MODE"),
        description="How `make run` serves HTTP: through HAProxy (90 MB more, and faster when overloaded), "
        "or through Serve's own Python proxy.",
    )
    ray_dashboard: bool = Field(
        False,
        validation_alias=_env("SEEDCORE_RAY_DASHBOARD"),
        description="`make run` also starts Ray's dashboard, on loopback; it takes 300 MB and seconds of every start.",
    )
    api_port: int = Field(
        8002,
        ge=1,
        le=65535,
        validation_alias=_env("SEEDCORE_API_PORT"),
        description="Port of `python -m seedcore.api`.",
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        validation_alias=_env("SEEDCORE_API_KEYS"),
        description="Comma-separated API keys. When set, every request but /health needs one.",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=_env("SEEDCORE_API_KEY"),
        description="Key that the command line sends; unset: the first of SEEDCORE_API_KEYS.",
    )
    approver_keys: SecretStr = Field(
        SecretStr(""),
        validation_alias=_env("SEEDCORE_APPROVER_KEYS"),
        description="Comma-separated `NAME:KEY`. When set, only who sends one of these keys approves and refuses "
        "tasks; the name is recorded. Each is an API key, too.",
    )
    request_timeout_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        validation_alias=_env("SEEDCORE_REQUEST_TIMEOUT_S"),
        description="Longest time one HTTP request may take (event streams excepted); no header can lift it.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_env("LOG_LEVEL"), description="Lowest level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json",
        validation_alias=_env("SEEDCORE_LOG_FORMAT"),
        description="One JSON object a line, or text for people.",
    )

    # -- Ray -----------------------------------------------------------------------------------------------
    namespace: str = Field(
        "seedcore-dev",
        min_length=1,
        validation_alias=_env("SEEDCORE_NS", "RAY_NAMESPACE"),
        description="Ray namespace of SeedCore's actors.",
    )
    ray_address: str | None = Field(
        None,
        validation_alias=_env("RAY_ADDRESS"),
        description="Ray to connect to: `ray://HOST:10001`, `HOST:6380` or `auto`. Unset: derived from the role.",
    )
    ray_host: str | None = Field(
        None,
        validation_alias=_env("RAY_HOST"),
        description="Host of the Ray client server; used by clients only.",
    )
    ray_port: str = Field(
        "10001",
        validation_alias=_env("RAY_PORT"),
        description="Port of the Ray client server; used by clients only (in KubeRay's pods it means something else).",
    )
    ray_node_group: str | None = Field(
        None,
        validation_alias=_env("RAY_NODE_TYPE_NAME"),
        description="Set by KubeRay in its pods (`headgroup` in a head): tells the role when SEEDCORE_ROLE is unset.",
    )
    ray_connect_timeout_s: float = Field(
        15.0,
        gt=0,
        le=600,
        validation_alias=_env("SEEDCORE_RAY_CONNECT_TIMEOUT_S"),
        description="Longest wait for a connection to Ray.",
    )
    serve_url: str | None = Field(
        None,
        validation_alias=_env("RAY_SERVE_ADDRESS", "RAY_SERVE_URL"),
        description="Base URL of Ray Serve's HTTP. Unset: http://SEEDCORE_HTTP_HOST:SEEDCORE_HTTP_PORT.",
    )
    dashboard_url: str | None = Field(
        None,
        validation_alias=_env("RAY_DASHBOARD_ADDRESS", "RAY_DASHBOARD_URL"),
        description="Base URL of the Ray dashboard.",
    )

    # -- stores --------------------------------------------------------------------------------------------
    pg_dsn: SecretStr | None = Field(
        None,
        validation_alias=_env("SEEDCORE_PG_DSN"),
        description="PostgreSQL (with pgvector). Unset: an embedded server in the data directory.",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=_env("REDIS_URL"),
        description="Redis of the working memory. Nothing writes to it yet; State reports how much is in it, and "
        "leaves that out when this is unset.",
    )
    neo4j_uri: SecretStr | None = Field(
        None,
        validation_alias=_env("NEO4J_URI"),
        description="Bolt server of the knowledge graph, for code of your own that uses `seedcore.graph`; no service "
        "does yet. Unset: an embedded one, started on first use.",
    )
    neo4j_user: str = Field("neo4j", validation_alias=_env("NEO4J_USER"), description="User of the Bolt server.")
    neo4j_password: SecretStr = Field(
        SecretStr(""), validation_alias=_env("NEO4J_PASSWORD"), description="Password of the Bolt server."
    )
    mysql_dsn: SecretStr | None = Field(
        None,
        validation_alias=_env("SEEDCORE_MYSQL_DSN"),
        description="MySQL for flashbulb incidents (`mysql+mysqlconnector://…`). Unset: PostgreSQL keeps them.",
    )
    bolt_heap_mb: int = Field(
        256,
        ge=64,
        le=65536,
        validation_alias=_env("SEEDCORE_BOLT_HEAP_MB"),
        description="Heap of the embedded Bolt server.",
    )
    pg_pool_size: int = Field(
        3,
        ge=1,
        le=100,
        validation_alias=_env("SEEDCORE_PG_POOL_SIZE"),
        description="Most PostgreSQL connections a process.",
    )

    # -- tasks ---------------------------------------------------------------------------------------------
    max_params_bytes: int = Field(
        256 * 1024,
        ge=1024,
        validation_alias=_env("SEEDCORE_MAX_PARAMS_BYTES"),
        description="Largest `params` of a task.",
    )
    max_result_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        validation_alias=_env("SEEDCORE_MAX_RESULT_BYTES"),
        description="Largest result of a task.",
    )
    max_batch_tasks: int = Field(
        10_000,
        ge=1,
        validation_alias=_env("SEEDCORE_MAX_BATCH_TASKS"),
        description="Most tasks in one batch.",
    )
    max_batch_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        validation_alias=_env("SEEDCORE_MAX_BATCH_BYTES"),
        description="Largest request body.",
    )
    max_attempts: int = Field(
        5,
        ge=1,
        le=100,
        validation_alias=_env("SEEDCORE_MAX_ATTEMPTS"),
        description="Attempts a task gets unless it names its own.",
    )
    retry_base_s: float = Field(
        0.5,
        gt=0,
        le=3600,
        validation_alias=_env("SEEDCORE_RETRY_BASE_S"),
        description="First retry's longest delay; doubles each time.",
    )
    retry_max_s: float = Field(
        300.0,
        gt=0,
        le=86400,
        validation_alias=_env("SEEDCORE_RETRY_MAX_S"),
        description="Longest delay before a retry.",
    )
    skill_timeout_s: float = Field(
        60.0,
        gt=0,
        le=86400,
        validation_alias=_env("SEEDCORE_SKILL_TIMEOUT_S"),
        description="Time a skill gets unless it names its own.",
    )
    skills: str = Field(
        "",
        validation_alias=_env("SEEDCORE_SKILLS"),
        description="Comma-separated modules that define skills.",
    )
    fetch_allow: str = Field(
        "",
        validation_alias=_env("SEEDCORE_FETCH_ALLOW"),
        description="Comma-separated hosts that `http.fetch` may reach (`*.example.org` for a domain). Empty: none.",
    )

    # -- dispatchers ---------------------------------------------------------------------------------------
    dispatchers: int = Field(
        2,
        ge=0,
        le=256,
        validation_alias=_env("SEEDCORE_DISPATCHERS"),
        description="Dispatchers on the queue `default`.",
    )
    graph_dispatchers: int = Field(
        1,
        ge=0,
        le=256,
        validation_alias=_env("SEEDCORE_GRAPH_DISPATCHERS"),
        description="Dispatchers on the queue `graph`.",
    )
    claim_batch: int = Field(
        500,
        ge=1,
        le=10_000,
        validation_alias=_env("SEEDCORE_CLAIM_BATCH"),
        description="Most tasks claimed at once.",
    )
    dispatcher_room: int = Field(
        2000,
        ge=1,
        le=100_000,
        validation_alias=_env("SEEDCORE_DISPATCHER_ROOM"),
        description="Most tasks a dispatcher holds.",
    )
    slow_slots: int = Field(
        8,
        ge=1,
        le=10_000,
        validation_alias=_env("SEEDCORE_SLOW_SLOTS"),
        description="Slow tasks (planning, LLM work) a dispatcher runs at once; they wait in a lane of their own.",
    )
    lease_s: float = Field(
        15.0,
        ge=1,
        le=3600,
        validation_alias=_env("SEEDCORE_LEASE_S"),
        description="Leases end this long after the last heartbeat.",
    )
    poll_s: float = Field(
        3.0,
        gt=0,
        le=60,
        validation_alias=_env("SEEDCORE_POLL_S"),
        description="Idle dispatchers look this often even without a NOTIFY.",
    )
    reap_s: float = Field(
        2.0,
        gt=0,
        le=3600,
        validation_alias=_env("SEEDCORE_REAP_S"),
        description="Pause between two rounds of the reaper.",
    )
    dispatcher_log_to_stdout: bool = Field(
        True,
        validation_alias=_env("DSP_LOG_TO_STDOUT"),
        description="Dispatchers also log to standard output.",
    )
    retention_finished_d: float = Field(
        7.0,
        gt=0,
        le=36_500,
        validation_alias=_env("SEEDCORE_RETENTION_FINISHED_D"),
        description="Days that finished tasks and events are kept.",
    )
    retention_dead_d: float = Field(
        30.0,
        gt=0,
        le=36_500,
        validation_alias=_env("SEEDCORE_RETENTION_DEAD_D"),
        description="Days that failed tasks are kept.",
    )

    # -- coordinator, cognitive, energy, organism ----------------------------------------------------------
    policy_path: Path | None = Field(
        None,
        validation_alias=_env("SEEDCORE_POLICY_PATH"),
        description="Policy file; unset: the one in the package.",
    )
    webhooks: SecretStr = Field(
        SecretStr(""),
        validation_alias=_env("SEEDCORE_WEBHOOKS"),
        description="Comma-separated `NAME=URL`: what a triage may notify, by name; requests name no address.",
    )
    triage_actions: str = Field(
        "",
        validation_alias=_env("SEEDCORE_TRIAGE_ACTIONS"),
        description="Comma-separated modules that define actions of a triage (`seedcore.coordinator.triage.action`).",
    )
    organs_path: Path | None = Field(
        None,
        validation_alias=_env("SEEDCORE_ORGANS_PATH"),
        description="Organs file; unset: the one in the package.",
    )
    drift_threshold: float = Field(
        0.5,
        gt=0,
        lt=1,
        validation_alias=_env("OCPS_DRIFT_THRESHOLD"),
        description="Evidence at which the valve opens.",
    )
    arl0: float = Field(
        10_000.0,
        ge=100,
        le=500_000,
        validation_alias=_env("OCPS_ARL0"),
        description="Mean tasks of a stream between false alarms of its valve.",
    )
    cognitive_timeout_s: float = Field(
        8.0,
        gt=0,
        le=3600,
        validation_alias=_env("COGNITIVE_TIMEOUT_S"),
        description="Longest time one plan may take.",
    )
    cognitive_max_inflight: int = Field(
        64,
        ge=1,
        le=10_000,
        validation_alias=_env("COGNITIVE_MAX_INFLIGHT"),
        description="Most plans made at once; over it: 429.",
    )
    max_plan_steps: int = Field(
        16, ge=1, le=1000, validation_alias=_env("MAX_PLAN_STEPS"), description="Most steps of one plan."
    )
    max_plan_time_s: float = Field(
        604_800.0,
        gt=0,
        le=31_536_000,
        validation_alias=_env("SEEDCORE_MAX_PLAN_TIME_S"),
        description="Longest time that the budget of a plan may give; also that of plans that name none.",
    )
    max_plan_tokens: float = Field(
        10_000_000.0,
        gt=0,
        le=1e15,
        validation_alias=_env("SEEDCORE_MAX_PLAN_TOKENS"),
        description="Most tokens that the budget of a plan may give; also that of plans that name none.",
    )
    max_plan_money: float = Field(
        100.0,
        gt=0,
        le=1e12,
        validation_alias=_env("SEEDCORE_MAX_PLAN_MONEY"),
        description="Most money that the budget of a plan may give, in the currency that skills report; "
        "also that of plans that name none.",
    )
    approval_s: float = Field(
        604_800.0,
        gt=0,
        le=31_536_000,
        validation_alias=_env("SEEDCORE_APPROVAL_S"),
        description="How long a task waits for a person's approval where its skill does not say.",
    )
    approval_on_expiry: Literal["reject", "release"] = Field(
        "reject",
        validation_alias=_env("SEEDCORE_APPROVAL_ON_EXPIRY"),
        description="What becomes of a task that nobody approved or refused in that time.",
    )
    recipe_after: int = Field(
        5,
        ge=0,
        le=50,
        validation_alias=_env("SEEDCORE_RECIPE_AFTER"),
        description="A plan that completed this often for such goals becomes a recipe; 0: none does.",
    )
    recipe_least: float = Field(
        0.7,
        gt=0,
        lt=0.9,
        validation_alias=_env("SEEDCORE_RECIPE_LEAST"),
        description="A recipe whose shrunken success rate falls under this is withdrawn.",
    )
    llm_provider: str = Field(
        "none",
        validation_alias=_env("LLM_PROVIDER"),
        description="Language model to ask. None is asked yet: plans are found by search alone. Cognitive's health and "
        "its refusal of a goal in free text show this value.",
    )
    route_wait_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        validation_alias=_env("SEEDCORE_ROUTE_WAIT_S"),
        description="Longest wait of route-and-execute.",
    )
    energy_v: float = Field(
        1.0,
        ge=0,
        le=1e6,
        validation_alias=_env("SEEDCORE_ENERGY_V"),
        description="V: seconds² that one unit of cost weighs in ΔE.",
    )
    energy_money: float = Field(
        1.0,
        ge=0,
        le=1e6,
        validation_alias=_env("SEEDCORE_ENERGY_MONEY"),
        description="Failures that one unit of the money which skills report weighs in ΔE.",
    )
    data_bytes_per_s: float | None = Field(
        None,
        gt=0,
        le=1e15,
        validation_alias=_env("SEEDCORE_DATA_BYTES_PER_S"),
        description="How fast data comes to an agent where it is not; unset: where a task's data is does not count.",
    )
    failure_budget: float = Field(
        0.01,
        gt=0,
        le=1,
        validation_alias=_env("SEEDCORE_FAILURE_BUDGET"),
        description="Share of failures that the flywheel accepts: over it V rises, under it V falls.",
    )
    flywheel_s: float = Field(
        600.0,
        ge=0,
        le=86_400,
        validation_alias=_env("SEEDCORE_FLYWHEEL_S"),
        description="Seconds between turns of the flywheel by itself; 0: it turns only when it is asked to.",
    )
    router: Literal[
        "energy", "join_shortest_queue", "power_of_two", "least_expected_delay", "round_robin", "random"
    ] = Field(
        "energy",
        validation_alias=_env("SEEDCORE_ROUTER"),
        description="Who chooses the agent of a task: the smallest ΔE, or what to compare it with.",
    )
    scout_share: float = Field(
        0.05,
        ge=0,
        le=1,
        validation_alias=_env("SEEDCORE_SCOUT_SHARE"),
        description="Least share of an organ's tasks for agents which must prove themselves yet, while others have.",
    )
    drain_s: float = Field(
        60.0,
        ge=0,
        le=86_400,
        validation_alias=_env("SEEDCORE_DRAIN_S"),
        description="Longest time that a host which is to go may take to end its tasks.",
    )
    host_concurrency: int = Field(
        256,
        ge=1,
        le=100_000,
        validation_alias=_env("SEEDCORE_HOST_CONCURRENCY"),
        description="Async skills that run at once on a host; blocking ones and processes have slots of their own.",
    )
    host_threads: int = Field(
        16,
        ge=1,
        le=1000,
        validation_alias=_env("SEEDCORE_HOST_THREADS"),
        description="Blocking skills (plain `def`) that run at once on a host, each in a thread.",
    )
    host_processes: int = Field(
        2,
        ge=1,
        le=256,
        validation_alias=_env("SEEDCORE_HOST_PROCESSES"),
        description="CPU-heavy skills (`process=True`) that run at once on a host, each in a process.",
    )
    host_blocked_s: float = Field(
        10.0,
        ge=0.5,
        le=3600,
        validation_alias=_env("SEEDCORE_HOST_BLOCKED_S"),
        description="A host is replaced when a skill has blocked its event loop for this long.",
    )
    host_agents: int = Field(
        20_000,
        ge=1,
        le=10_000_000,
        validation_alias=_env("SEEDCORE_HOST_AGENTS"),
        description="Most agents that a host keeps in memory; over it, idle ones are put to sleep at once.",
    )
    agent_idle_s: float = Field(
        300.0,
        gt=0,
        le=86_400,
        validation_alias=_env("SEEDCORE_AGENT_IDLE_S"),
        description="An agent without work for this long is put to sleep: what it has learned stays in PostgreSQL.",
    )
    agent_concurrency: int = Field(
        0,
        ge=0,
        le=100_000,
        validation_alias=_env("SEEDCORE_AGENT_CONCURRENCY"),
        description="Skills that run at once for one agent; 0: as many as its host runs.",
    )

    state_sample_s: float = Field(
        10.0,
        ge=1,
        le=3600,
        validation_alias=_env("SEEDCORE_STATE_SAMPLE_S"),
        description="Seconds between two samples of the history that State keeps.",
    )
    retention_state_d: float = Field(
        7.0,
        gt=0,
        le=3650,
        validation_alias=_env("SEEDCORE_RETENTION_STATE_D"),
        description="Days that these samples are kept.",
    )

    # -- ML ------------------------------------------------------------------------------------------------
    xgb_storage_path: Path | None = Field(
        None,
        validation_alias=_env("XGB_STORAGE_PATH"),
        description="Folder of the models; unset: `models` in the data directory.",
    )
    max_train_rows: int = Field(
        1_000_000,
        ge=1,
        validation_alias=_env("SEEDCORE_MAX_TRAIN_ROWS"),
        description="Most rows of one training set.",
    )

    # -- bootstrap -----------------------------------------------------------------------------------------
    bootstrap_mode: Literal["all", "organism", "dispatchers"] = Field(
        "all",
        validation_alias=_env("BOOTSTRAP_MODE"),
        description="What `bootstraps.bootstrap_entry` brings up.",
    )
    bootstrap_timeout_s: float = Field(
        600.0,
        gt=0,
        le=3600,
        validation_alias=_env("SEEDCORE_BOOTSTRAP_TIMEOUT_S"),
        description="Longest time that a start or a bootstrap may take; `seedcore run` gives each part of Ray a fifth.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment; nothing else is read."""
        return init_settings, _Environment(settings_cls)

    @field_validator("log_level", "bootstrap_mode", "llm_provider", "http_mode", "log_format", "router", mode="before")
    @classmethod
    def _fold_case(cls, value: Any, info: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value.strip()
        return text.upper() if info.field_name == "log_level" else text.lower()

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: Any) -> Any:
        """An argument given as an empty string is an unset one, as it is in the environment."""
        if value == "":
            field = cls.model_fields[info.field_name]
            return field.get_default(call_default_factory=True, validated_data={})
        return value

    @field_validator("data_dir", "xgb_storage_path", "policy_path", "organs_path", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @field_validator("pg_dsn", "redis_url", "neo4j_uri", "mysql_dsn", mode="after")
    @classmethod
    def _known_scheme(cls, value: SecretStr | None, info: Any) -> SecretStr | None:
        allowed = {
            "pg_dsn": ("postgresql", "postgres"),
            "redis_url": ("redis", "rediss", "unix"),
            "neo4j_uri": ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"),
            "mysql_dsn": ("mysql+mysqlconnector",),
        }[info.field_name]
        try:
            known = value is None or urlsplit(value.get_secret_value()).scheme in allowed
        except ValueError:  # its text would quote the password
            known = False
        if not known:
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{s}://' for s in allowed)}")
        return value

    @field_validator("approver_keys", mode="after")
    @classmethod
    def _named_keys(cls, value: SecretStr) -> SecretStr:
        pairs = [pair.strip() for pair in value.get_secret_value().split(",") if pair.strip()]
        if not all(re.fullmatch(r"[\w.@-]{1,63}:[^\s:]+", pair, re.ASCII) for pair in pairs):
            raise ValueError("must be NAME:KEY, several separated by commas; letters, digits and . @ - _ in names")
        if len({pair.partition(":")[2] for pair in pairs}) < len(pairs):
            raise ValueError("must have a different key for each name")
        return value

    @field_validator("webhooks", mode="after")
    @classmethod
    def _named_urls(cls, value: SecretStr) -> SecretStr:
        pairs = [pair.strip() for pair in value.get_secret_value().split(",") if pair.strip()]
        if not all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}=https?://[^\s/]\S*", pair, re.ASCII) for pair in pairs):
            raise ValueError("must be NAME=URL with http or https, several separated by commas")
        if len({pair.partition("=")[0] for pair in pairs}) < len(pairs):
            raise ValueError("must have a different name for each URL")
        return value

    @property
    def base_url(self) -> str:
        """Where the Serve applications answer HTTP, without a slash at the end."""
        host = f"[{self.http_host}]" if ":" in self.http_host else self.http_host
        return (self.serve_url or f"http://{host}:{self.http_port}").rstrip("/")

    @property
    def models_dir(self) -> Path:
        """Folder of the model registry."""
        return self.xgb_storage_path or self.data_dir / "models"

    @property
    def api_key_list(self) -> tuple[str, ...]:
        """The configured API keys."""
        return tuple(k.strip() for k in self.api_keys.get_secret_value().split(",") if k.strip())

    @property
    def approvers(self) -> dict[str, str]:
        """Names of approvers by their key."""
        pairs = (pair.strip() for pair in self.approver_keys.get_secret_value().split(","))
        return {key: name for name, _, key in (pair.partition(":") for pair in pairs if pair)}

    @property
    def client_key(self) -> str | None:
        """The key that the command line sends."""
        return self.api_key.get_secret_value() or next(iter(self.api_key_list), None)

    @property
    def skill_modules(self) -> tuple[str, ...]:
        """Modules named by SEEDCORE_SKILLS."""
        return tuple(m.strip() for m in self.skills.split(",") if m.strip())

    @property
    def webhook_urls(self) -> dict[str, str]:
        """URLs by name."""
        pairs = (pair.strip() for pair in self.webhooks.get_secret_value().split(","))
        return {name: url for name, _, url in (pair.partition("=") for pair in pairs if pair)}

    @property
    def triage_action_modules(self) -> tuple[str, ...]:
        """Modules named by SEEDCORE_TRIAGE_ACTIONS."""
        return tuple(m.strip() for m in self.triage_actions.split(",") if m.strip())

    @property
    def fetch_hosts(self) -> tuple[str, ...]:
        """Hosts that `http.fetch` may reach."""
        return tuple(h.strip().lower() for h in self.fetch_allow.split(",") if h.strip())

    @property
    def runtime_dir(self) -> Path:
        """Short-named folder for sockets and Ray's session: socket paths are limited to 107 bytes."""
        from hashlib import sha256

        digest = sha256(str(self.data_dir).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"sc-{os.getuid()}-{digest}"


SECRET_FIELDS = frozenset(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))


def env_names(field_name: str) -> tuple[str, ...]:
    """The environment variables of a field, the winning one first."""
    alias = Settings.model_fields[field_name].validation_alias
    return tuple(str(c) for c in alias.choices) if isinstance(alias, AliasChoices) else (str(alias),)


def _field_of(location: str) -> str | None:
    for name in Settings.model_fields:
        if location == name or location in env_names(name):
            return name
    return None


def load_settings(**overrides: Any) -> Settings:
    """Read and validate the environment.

    Raises:
        SettingsError: names each bad variable, its value (never a secret's) and what is allowed.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = []
        for item in error.errors(include_url=False, include_input=True):
            location = str(item["loc"][0])
            name = _field_of(location) or location
            variable = next((v for v in env_names(name) if os.environ.get(v)), env_names(name)[0])
            given = overrides.get(name, os.environ.get(variable, item.get("input")))
            value = "(secret)" if name in SECRET_FIELDS else repr(given)
            message = item["msg"].removeprefix("Value error, ")
            wrong.append(FieldError(variable, f"{value} is not allowed: {message}"))
        detail = "; ".join(f"{e.field}={e.message}" for e in wrong)
        raise SettingsError(detail, errors=wrong) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()
