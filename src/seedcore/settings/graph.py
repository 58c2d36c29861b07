"""Settings of the knowledge graph."""

from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field, SecretStr

from seedcore.settings.base import SettingsGroup, url_of


class GraphSettings(SettingsGroup):
    """The knowledge graph."""

    title: ClassVar[str] = "Graph"

    neo4j_uri: Annotated[SecretStr | None, url_of("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")] = (
        Field(
            None,
            validation_alias=AliasChoices("NEO4J_URI"),
            description="Bolt server of the knowledge graph, such as Neo4j 5. It is kept up to date from the start. "
            "Unset: an embedded one, started by the first task of a skill of the graph.",
        )
    )
    neo4j_user: str = Field(
        "neo4j", validation_alias=AliasChoices("NEO4J_USER"), description="User of the Bolt server."
    )
    neo4j_password: SecretStr = Field(
        SecretStr(""), validation_alias=AliasChoices("NEO4J_PASSWORD"), description="Password of the Bolt server."
    )
    bolt_heap_mb: int = Field(
        256,
        ge=64,
        le=65536,
        validation_alias=AliasChoices("SEEDCORE_BOLT_HEAP_MB"),
        description="Heap of the embedded Bolt server.",
    )
