"""The base of every group of settings, and the one place that reads the environment."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


def variables_of(field: FieldInfo) -> tuple[str, ...]:
    """The environment variables of a field, the winning one first."""
    alias = field.validation_alias
    return tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (str(alias),)


def given_variable(field: FieldInfo) -> str | None:
    """The first variable of the field that is set and not empty."""
    return next((name for name in variables_of(field) if os.environ.get(name)), None)


class EnvironmentSource(PydanticBaseSettingsSource):
    """The environment, read by the aliases alone.

    The library's own source would also take `ROLE` or `SKILLS` for the field of that name, and let an empty
    SEEDCORE_NS, as Compose passes it, hide RAY_NAMESPACE.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """The value of the first variable of the field that is not empty."""
        name = given_variable(field)
        return (None if name is None else os.environ[name]), field_name, False

    def __call__(self) -> dict[str, object]:
        """The fields that the environment sets."""
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class SettingsGroup(BaseSettings):
    """A group of settings. A field's aliases are its environment variables, the first one wins.

    Attributes:
        title: heading of the group in docs/configuration.md.
    """

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    title: ClassVar[str]

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
        return init_settings, EnvironmentSource(settings_cls)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object, info: ValidationInfo) -> object:
        """An argument given as an empty string is an unset one, as it is in the environment."""
        if value == "" and info.field_name is not None:
            return cls.model_fields[info.field_name].get_default(call_default_factory=True, validated_data={})
        return value


def folded(fold: Callable[[str], str]) -> BeforeValidator:
    """Read text whatever its case; `fold` is `str.lower` or `str.upper`."""
    return BeforeValidator(lambda value: fold(value.strip()) if isinstance(value, str) else value)


UPPER = folded(str.upper)
LOWER = folded(str.lower)


def split_list(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list, without the spaces around them and without empty ones."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def absolute(value: Path | None) -> Path | None:
    """`value` without `~`, from the root."""
    return None if value is None else value.expanduser().absolute()


ABSOLUTE = AfterValidator(absolute)


def readable(value: Path | None) -> Path | None:
    """`value` from the root, a file that this user can read."""
    if (path := absolute(value)) is not None and not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError("must be a file that this user can read")
    return path


READABLE = AfterValidator(readable)


def url_of(*schemes: str) -> AfterValidator:
    """Accept only URLs that begin with one of `schemes`; the error never quotes the URL, which may hold a password."""

    def check(value: SecretStr | None) -> SecretStr | None:
        try:
            known = value is None or urlsplit(value.get_secret_value()).scheme in schemes
        except ValueError:  # its text would quote the password
            known = False
        if not known:
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return AfterValidator(check)


def ends_in_v1(value: SecretStr | None) -> SecretStr | None:
    """Accept only URLs that end in `/v1`; the answer has no slash at its end."""
    if value is None:
        return None
    url = value.get_secret_value().rstrip("/")
    if not url.endswith("/v1"):
        raise ValueError("must end in /v1, where OpenAI's protocol is served")
    return SecretStr(url)
