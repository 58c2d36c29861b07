"""Settings of security: API keys, approvers, tokens, the audit log, and the hosts that skills may reach."""

import re
from typing import ClassVar

from pydantic import AliasChoices, Field, SecretStr, field_validator

from seedcore.settings.base import SettingsGroup, split_list


class SecuritySettings(SettingsGroup):
    """Security: API keys, approvers, tokens, the audit log, and the hosts that skills may reach."""

    title: ClassVar[str] = "Security"

    api_keys: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SEEDCORE_API_KEYS"),
        description="Comma-separated API keys. When set, every request but /health needs one.",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SEEDCORE_API_KEY"),
        description="Key that the command line sends; unset: the first of SEEDCORE_API_KEYS.",
    )
    approver_keys: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SEEDCORE_APPROVER_KEYS"),
        description="Comma-separated `NAME:KEY`. When set, only holders of these keys approve and refuse "
        "tasks; the name is recorded. Each is also an API key.",
    )
    fetch_allow: str = Field(
        "",
        validation_alias=AliasChoices("SEEDCORE_FETCH_ALLOW"),
        description="Comma-separated hosts that `http.fetch` may reach (`*.example.org` for a domain). Empty: none.",
    )
    audit_days: float = Field(
        365.0,
        gt=0,
        le=36_500,
        validation_alias=AliasChoices("SEEDCORE_AUDIT_DAYS"),
        description="Days that the audit log is kept.",
    )
    oidc_issuer: str = Field(
        "",
        validation_alias=AliasChoices("SEEDCORE_OIDC_ISSUER"),
        pattern=r"^(https://\S+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/\S*)?)?$",
        description="Issuer of OpenID Connect tokens that are accepted as keys (extra `oidc`); https, or http on this "
        "machine. Unset: none.",
    )
    oidc_audience: str = Field(
        "seedcore",
        validation_alias=AliasChoices("SEEDCORE_OIDC_AUDIENCE"),
        description="Audience that tokens must be made for.",
    )
    oidc_scopes_claim: str = Field(
        "seedcore_scopes",
        validation_alias=AliasChoices("SEEDCORE_OIDC_SCOPES_CLAIM"),
        description="Claim with the scopes of a token: a list, or text with spaces. Without it a token may do nothing.",
    )
    oidc_tenant_claim: str = Field(
        "seedcore_tenant",
        validation_alias=AliasChoices("SEEDCORE_OIDC_TENANT_CLAIM"),
        description="Claim with the tenant of a token; `*` is the platform. Without it: `default`.",
    )
    oidc_payloads_claim: str = Field(
        "seedcore_payloads",
        validation_alias=AliasChoices("SEEDCORE_OIDC_PAYLOADS_CLAIM"),
        description="Claim that is false for tokens that may not see params and results. Without it: they may.",
    )

    @property
    def api_key_list(self) -> tuple[str, ...]:
        """The configured API keys."""
        return split_list(self.api_keys.get_secret_value())

    @property
    def approvers(self) -> dict[str, str]:
        """Names of approvers by their key."""
        pairs = split_list(self.approver_keys.get_secret_value())
        return {key: name for name, _, key in (pair.partition(":") for pair in pairs)}

    @property
    def client_key(self) -> str | None:
        """The key that the command line sends."""
        return self.api_key.get_secret_value() or next(iter(self.api_key_list), None)

    @property
    def fetch_hosts(self) -> tuple[str, ...]:
        """Hosts that `http.fetch` may reach."""
        return split_list(self.fetch_allow.lower())

    @field_validator("approver_keys", mode="after")
    @classmethod
    def _named_keys(cls, value: SecretStr) -> SecretStr:
        pairs = split_list(value.get_secret_value())
        if not all(re.fullmatch(r"[\w.@-]{1,63}:[^\s:]+", pair, re.ASCII) for pair in pairs):
            raise ValueError("must be NAME:KEY, several separated by commas; letters, digits and . @ - _ in names")
        if len({pair.partition(":")[2] for pair in pairs}) < len(pairs):
            raise ValueError("must have a different key for each name")
        return value
