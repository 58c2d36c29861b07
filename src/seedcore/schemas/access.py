"""Bodies and queries of the gateway's routes for keys and for the audit log."""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from seedcore.tasks.model import TENANT_NAME

MAX_KEY_S = 10 * 366 * 86_400.0
KEY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"

Scope = Literal["read", "submit", "approve", "operate", "admin"]
Tenant = Annotated[str, Field(pattern=TENANT_NAME)]
Seconds = Annotated[float, Field(gt=0, le=MAX_KEY_S)]
Plain = Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")]


class KeyIn(BaseModel):
    """A key to make. Without `tenant` it is the caller's own, or a platform key; without an expiry it stays valid."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=KEY_NAME)
    scopes: list[Scope] = Field(min_length=1, max_length=5)
    tenant: Tenant | None = None
    expires_at: AwareDatetime | None = None
    expires_in_s: Seconds | None = None
    payloads: bool | None = Field(None, description="may see params and results; unset: as the caller")

    @model_validator(mode="after")
    def _one_expiry(self) -> Self:
        if self.expires_at is not None and self.expires_in_s is not None:
            raise ValueError("give either `expires_at` or `expires_in_s`")
        return self


class RotateIn(BaseModel):
    """How a key gets a new secret: the old one goes on for `grace_s`; its expiry stays unless another is given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    grace_s: float = Field(300.0, ge=0, le=30 * 86_400.0)
    expires_in_s: Seconds | None = None


class KeyOut(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    tenant: str | None
    scopes: list[str]
    payloads: bool
    state: str = Field(description="active, expired or revoked")
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewKeyOut(KeyOut):
    """A key with its secret, which is shown this once."""

    key: str


class KeyPage(BaseModel):
    """Keys, the newest first; a key that is rotated has one item for each secret."""

    items: list[KeyOut]
    next_cursor: str | None


class KeyQuery(BaseModel):
    """Filters of `GET /keys`."""

    model_config = ConfigDict(extra="forbid")

    tenant: Tenant | None = None
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=500)


class AuditQuery(BaseModel):
    """Filters of `GET /audit`."""

    model_config = ConfigDict(extra="forbid")

    actor: Plain | None = None
    action: Plain | None = Field(None, description="method and route, such as `POST /api/v1/queue/{queue}/pause`")
    tenant: Tenant | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(100, ge=1, le=1000)


class AuditRow(BaseModel):
    """Who did what, from where, and what came of it."""

    id: str
    at: str
    actor: str
    actor_kind: str
    tenant: str | None
    action: str
    target: str | None
    status: int
    source: str | None
    detail: dict[str, object]


class AuditPage(BaseModel):
    """Rows of the audit log, the newest first."""

    items: list[AuditRow]
    next_cursor: str | None


class WeightIn(BaseModel):
    """A tenant's weight."""

    model_config = ConfigDict(extra="forbid")

    weight: int = Field(ge=1, le=1000, strict=True)


class TenantOut(BaseModel):
    """A tenant that has ready tasks, or a weight of its own."""

    name: str
    weight: int
    ready: int = Field(description="tasks that may be claimed, counted up to 1,000 of each queue and priority")


class TenantPage(BaseModel):
    """A page of tenants, by name."""

    items: list[TenantOut]
    next_cursor: str | None
