"""Settings of telemetry: what is logged, measured and traced. `OTEL_…` are OpenTelemetry's own, with its meanings."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, AliasChoices, Field, SecretStr

from seedcore.settings.base import ABSOLUTE, LOWER, UPPER, SettingsGroup, split_list, url_of

Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


def pairs_of(text: str) -> dict[str, str]:
    """`name=value,name=value`, percent-decoded.

    Raises:
        ValueError: an item has no name or no `=`; its text is not quoted, since it may be a secret.
    """
    items = [item.partition("=") for item in split_list(text)]
    if any(not name.strip() or not equals for name, equals, _ in items):
        raise ValueError("must be name=value,name=value")
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in items}


def _pairs(value: str) -> str:
    pairs_of(value)
    return value


def _secret_pairs(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        pairs_of(value.get_secret_value())
    return value


class TelemetrySettings(SettingsGroup):
    """Telemetry: what is logged, measured and traced, and how."""

    title: ClassVar[str] = "Telemetry"

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], UPPER] = Field(
        "INFO", validation_alias=AliasChoices("LOG_LEVEL"), description="Lowest level that is logged."
    )
    log_format: Annotated[Literal["json", "console"], LOWER] = Field(
        "json",
        validation_alias=AliasChoices("SEEDCORE_LOG_FORMAT"),
        description="One JSON object a line, or text for people.",
    )
    dispatcher_log_to_stdout: bool = Field(
        True,
        validation_alias=AliasChoices("DSP_LOG_TO_STDOUT"),
        description="Dispatchers also log to standard output.",
    )
    metrics: bool = Field(
        True,
        validation_alias=AliasChoices("SEEDCORE_METRICS"),
        description="Count metrics, and export them once a second: to PostgreSQL, and on Ray's metrics port.",
    )
    metrics_max_types: int = Field(
        64,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("SEEDCORE_METRICS_MAX_TYPES"),
        description="Values that a label of a metric has at most (types, queues, tenants, models and the like); what "
        "comes after them is counted as `other`.",
    )
    metrics_retention_d: float = Field(
        7.0,
        gt=0,
        le=3650,
        validation_alias=AliasChoices("SEEDCORE_METRICS_RETENTION_D"),
        description="Days after which a series that nothing was added to is forgotten.",
    )

    otel_sdk_disabled: bool = Field(
        False, validation_alias=AliasChoices("OTEL_SDK_DISABLED"), description="No traces, whatever else is set."
    )
    otel_traces_exporter: Annotated[Literal["none", "otlp", "console"], LOWER] = Field(
        "none",
        validation_alias=AliasChoices("OTEL_TRACES_EXPORTER"),
        description="Where spans go: nowhere, to a collector over OTLP/HTTP (the extra `otel`), or to standard output.",
    )
    otel_exporter_otlp_endpoint: Annotated[SecretStr | None, url_of("http", "https")] = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="URL of the collector, to which /v1/traces is added. Unset: http://localhost:4318.",
    )
    otel_exporter_otlp_traces_endpoint: Annotated[SecretStr | None, url_of("http", "https")] = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        description="URL that spans are sent to as it is; it wins over OTEL_EXPORTER_OTLP_ENDPOINT.",
    )
    otel_exporter_otlp_protocol: Annotated[Literal["http/protobuf"], LOWER] = Field(
        "http/protobuf",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        description="The protocol to the collector; there is this one.",
    )
    otel_exporter_otlp_headers: Annotated[SecretStr | None, AfterValidator(_secret_pairs)] = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
        description="Headers for the collector, such as its key: name=value,name=value, percent-encoded.",
    )
    otel_exporter_otlp_timeout: float = Field(
        10.0,
        gt=0,
        le=600,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
        description="Seconds (as in OpenTelemetry's SDK for Python) that one export may take, retries included.",
    )
    otel_exporter_otlp_compression: Annotated[Literal["none", "gzip"], LOWER] = Field(
        "none",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
        description="Compression on the way to the collector.",
    )
    otel_exporter_otlp_certificate: Annotated[Path | None, ABSOLUTE] = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        description="File of the certificate authorities that the collector's certificate is held against.",
    )
    otel_traces_sampler: Annotated[Sampler, LOWER] = Field(
        "parentbased_always_on",
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER"),
        description="Which traces are recorded; `parentbased_`: a caller's traceparent decides where there is one.",
    )
    otel_traces_sampler_arg: float = Field(
        1.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER_ARG"),
        description="Share of the traces that `traceidratio` records.",
    )
    otel_service_name: str = Field(
        "seedcore",
        min_length=1,
        max_length=200,
        validation_alias=AliasChoices("OTEL_SERVICE_NAME"),
        description="`service.name` of every span.",
    )
    otel_resource_attributes: Annotated[str, AfterValidator(_pairs)] = Field(
        "",
        validation_alias=AliasChoices("OTEL_RESOURCE_ATTRIBUTES"),
        description="Further attributes of every span: name=value,name=value, percent-encoded.",
    )
    otel_bsp_schedule_delay: int = Field(
        5000,
        ge=1,
        le=600_000,
        validation_alias=AliasChoices("OTEL_BSP_SCHEDULE_DELAY"),
        description="Milliseconds in which spans gather before they are sent.",
    )
    otel_bsp_max_queue_size: int = Field(
        2048,
        ge=1,
        le=1_000_000,
        validation_alias=AliasChoices("OTEL_BSP_MAX_QUEUE_SIZE"),
        description="Spans that wait in a process; what comes over it is dropped and counted.",
    )
    otel_bsp_max_export_batch_size: int = Field(
        512,
        ge=1,
        le=100_000,
        validation_alias=AliasChoices("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        description="Spans that are sent at once.",
    )
    trace_fetches: bool = Field(
        False,
        validation_alias=AliasChoices("SEEDCORE_TRACE_FETCHES"),
        description="`http.fetch` sends `traceparent` to the hosts that it may reach: they learn the ids of traces.",
    )

    @property
    def otel_traces_url(self) -> str:
        """Where spans are sent."""
        if (own := self.otel_exporter_otlp_traces_endpoint) is not None:
            return own.get_secret_value()
        base = self.otel_exporter_otlp_endpoint
        return ("http://localhost:4318" if base is None else base.get_secret_value()).rstrip("/") + "/v1/traces"
