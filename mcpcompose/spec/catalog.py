"""Catalogs: where a project's `from:` looks, and our own format of one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcpcompose.spec.base import Model, Names
from mcpcompose.spec.values import AlsoWritten

_PLACE = r"^[^\s$]+$"


class FileCatalog(Model):
    """A catalog in a file: of our own format, or of Docker's."""

    file: Annotated[str, Field(min_length=1)]
    """The file's path, relative to this one."""


class OciCatalog(Model):
    """A catalog that is kept in an image registry."""

    oci: Annotated[str, Field(pattern=_PLACE)]
    """The artifact, as `registry/name:tag` or with a digest; credentials are those of `docker login`."""


class RegistryCatalog(Model):
    """A registry that speaks the MCP registry API; entries are pinned with `from: catalog/name@version`."""

    registry: Annotated[str, Field(pattern=_PLACE)]
    """The registry's URL."""


class UrlCatalog(Model):
    """A catalog at a URL, of our own format or of Docker's."""

    url: Annotated[str, Field(pattern=_PLACE)]
    """The https URL."""


Catalog = FileCatalog | OciCatalog | RegistryCatalog | UrlCatalog


def _as_catalog(value: Any) -> Any:
    """`acme: ./catalog.yaml`."""
    return {"file": value} if isinstance(value, str) else value


CatalogSource = Annotated[Catalog, BeforeValidator(_as_catalog), AlsoWritten('{"type": "string"}')]
"""One catalog, by where it is kept."""


class CatalogTool(Model):
    """A tool, as the catalog describes it."""

    name: str
    """The tool's name."""
    description: str = ""
    """What it does."""


class CatalogSecret(Model):
    """A secret that the server needs. The project says where its value comes from."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Deliver it as this environment variable; default: as a file below `/run/secrets`."""
    target: str | None = None
    """The file's name below `/run/secrets`; default: the secret's name."""
    description: str = ""
    """What it is, and where a person gets one."""
    required: bool = True
    """Whether the server is of no use without it."""
    example: str = ""
    """What one looks like; never a real one."""
    only_in_text: bool = False
    """It is not delivered: only texts of the server refer to it, as `${secret:name}`."""


class CatalogEntry(Model):
    """A server that projects may use by name."""

    title: str = ""
    """The name that people see."""
    description: str = ""
    """What it is for, in a sentence or two."""
    version: str = ""
    """The entry's version; `from: catalog/entry@version` asks for exactly this one."""
    publisher: str = ""
    """Who stands behind it."""
    license: str = ""
    """The licence of the server."""
    homepage: str = ""
    """Where there is more about it."""
    icon: str = ""
    """The URL of a picture."""
    note: str = ""
    """Something to know before using it: deprecated, on trial, for one team only."""
    tags: tuple[str, ...] = ()
    """Words to find it by."""
    tools: tuple[str | CatalogTool, ...] = ()
    """Its tools, by name or with a description; for people who look, not a rule."""
    config: Names[Any] = Field(default_factory=dict)
    """The JSON Schema of the project's `config`; values go where `${config:key}` stands in `server`."""
    secrets: Names[CatalogSecret] = Field(default_factory=dict)
    """The secrets it needs, by name."""
    server: Names[Any]
    """What to run: the keys of a server as in `mcp-compose.yaml`, with `${config:key}` and `${secret:name}`."""


class CatalogFile(Model):
    """A catalog of MCP servers that projects may use with `from: catalog/entry`."""

    catalog: Literal[1]
    """The version of this format."""
    name: str = ""
    """A short name for it."""
    title: str = ""
    """The name that people see."""
    description: str = ""
    """Whose servers these are, and what for."""
    servers: Names[CatalogEntry] = Field(default_factory=dict)
    """The entries, by name."""
