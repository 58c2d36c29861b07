"""Names of OpenTelemetry's semantic conventions for generative AI, pinned.

They are those of `opentelemetry-semantic-conventions` 0.66b2 (semantic conventions 1.44.0), where they are still under
development: a later version may rename them, so what dashboards read is written down here alone.
"""

SEMCONV_VERSION = "1.44.0"

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

MONEY = "seedcore.usage.money"
"""The conventions have no name for money."""
