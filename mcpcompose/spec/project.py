"""The whole compose file as one frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcpcompose.spec.base import Model, Names
from mcpcompose.spec.catalog import CatalogSource
from mcpcompose.spec.interceptor import Audit, Interceptor, Session
from mcpcompose.spec.limits import GatewayTimeouts, Limits
from mcpcompose.spec.lockfile import Lock
from mcpcompose.spec.policy import Policy, Signer
from mcpcompose.spec.secret import SecretSources
from mcpcompose.spec.server import Server
from mcpcompose.spec.values import AlsoWritten, Explained, HostName, PlainName, ProjectName, ServerName, WebOrigin
from mcpcompose.spec.written import TEXT, OneOrMany, Text

EngineKind = Literal["docker", "process"]
_Engine = Annotated[
    EngineKind,
    Explained(
        "Containers, of Docker or Podman.", "Processes of this machine, without isolation: packages and commands."
    ),
]


class Profile(Model):
    """A named set of servers and tools that a client gets; it can only narrow what `servers` allows."""

    servers: tuple[str, ...]
    """The servers, in the order their tools are listed."""
    tools: Names[tuple[str, ...]] = Field(default_factory=dict)
    """Globs of the tools to keep, by server, on top of the server's own `tools`."""


class Client(Model):
    """A client application with its own token."""

    profile: str = "default"
    """The profile that its token is bound to."""


class Gateway(Model):
    """The one endpoint of the project."""

    listen: Annotated[
        Literal["127.0.0.1", "::1", "localhost"],
        Explained("IPv4's loopback.", "IPv6's loopback.", "The same as `127.0.0.1`."),
    ] = "127.0.0.1"
    """The loopback address to listen on."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port; default: a free one, chosen at the first `up` and remembered."""
    auth: (
        Annotated[Literal["token", "none"], Explained("A token for each client.", "Whoever reaches the port.")]
        | (Names[Any])
    ) = "token"
    """`token`: one per client; `none`: whoever reaches the port; `{jwt: …}` is not supported yet."""
    allowed_hosts: Annotated[tuple[HostName, ...], Field(max_length=64)] = ()
    """Names in the `Host` header that are served, besides loopback's; with a port only at that port."""
    allowed_origins: Annotated[tuple[WebOrigin, ...], Field(max_length=64)] = ()
    """Web pages that may ask, by the `Origin` header, besides loopback's: `https://app.example`."""
    limits: Limits = Limits()
    """What clients may send and hold."""
    timeouts: GatewayTimeouts = GatewayTimeouts()
    """How long clients may take."""


class Runners(Model):
    """The images that packages are installed on."""

    pypi: str = "python:3.12-slim"
    """For `package: pypi:…`; needs `python3` and `pip`."""
    npm: str = "node:22-slim"
    """For `package: npm:…`; needs `node` and `npm`."""


def _include(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Include(Model):
    """Another compose file, with the folder and the variables that it is read with."""

    path: Annotated[OneOrMany, Field(min_length=1)]
    """The file, relative to this one; of several, later ones are merged over the first, as with several `-f`."""
    env_file: OneOrMany = ()
    """Files with variables for `${…}`, which this project's own go before; default: `.env` in its folder."""
    project_directory: Text | None = None
    """The folder that relative paths in it are relative to; default: the folder of its first file."""


IncludeItem = Annotated[Include, BeforeValidator(_include), AlsoWritten(TEXT)]


class ComposeFile(Model):
    """Docker Compose for MCP servers: which servers this project's AI clients may use."""

    name: ProjectName | None = None
    """The project's name; default: the directory's."""
    include: tuple[IncludeItem, ...] = ()
    """Other compose files whose content becomes part of this one; conflicts are errors."""
    engine: _Engine | None = None
    """What runs the servers; `MCP_COMPOSE_ENGINE` and `--engine` override it; there is no automatic fallback."""
    servers: Names[Server] = Field(default_factory=dict)
    """The servers, by name."""
    secrets: Names[SecretSources] = Field(default_factory=dict)
    """Where secret values come from, by name."""
    profiles: Names[Profile] = Field(default_factory=dict)
    """What a client gets; without any, everything."""
    clients: Names[Client] = Field(default_factory=dict)
    """The client applications of this project, by name."""
    gateway: Gateway = Gateway()
    """The endpoint that clients connect to."""
    runners: Runners = Runners()
    """The images that packages are installed on, unless a server says `runner`."""
    catalogs: Names[CatalogSource] = Field(default_factory=dict)
    """Where servers with `from` come from: a path, or one of `{file}`, `{oci}`, `{registry}` and `{url}`."""
    policy: Policy | None = None
    """What this project accepts at all; policies of several files all hold, and none can be loosened by another."""
    interceptors: Annotated[tuple[Interceptor, ...], Field(max_length=256)] = ()
    """Code around requests: before a call from top to bottom, after it back; those of includes are outermost."""
    session: Session = Session()
    """How long what a client has read, and is pinned to, is remembered."""
    audit: Audit = Audit()
    """The audit log of every request."""
    models: Names[Any] | None = None
    """Local models (not supported yet)."""


class Provenance(Model):
    """What stood in the file before references and links were followed: names and texts, never values of variables."""

    written: Names[str] = Field(default_factory=dict)
    """Texts with `${VAR}` that were replaced at load, by place: `servers.web.image`, `runners.pypi`."""
    made_of: Names[tuple[str, ...]] = Field(default_factory=dict)
    """Variables of `.env` and `env_file` whose values were made of other variables, and of which."""
    real: Names[str] = Field(default_factory=dict)
    """Where the host paths of bind mounts led at load, links followed."""
    dotenv: Path | None = None
    """Where the project's own `.env` leads, when that is outside the project."""
    policy: Policy | None = None
    """What the project's own files ask for, without the machine's policy."""
    catalogs: Names[str] = Field(default_factory=dict)
    """Where the catalogs are that the project's own policy names, as written."""
    catalog_digests: Names[str] = Field(default_factory=dict)
    """What the catalogs were read from, of those that servers come from."""
    imposed: int = 0
    """How many of the interceptors, from the first, are the machine's."""
    include_env: tuple[Path, ...] = ()
    """Environment files of includes that are outside the project."""
    programs: Names[str] = Field(default_factory=dict)
    """What the project's own files held at load that commands of interceptors name, by path."""
    remarks: tuple[str, ...] = ()
    """What a person should know of the file, though it can be used."""


class Project(Model):
    """One loaded compose file, complete and checked: what `load` returns and everything else works from."""

    name: ProjectName
    """Part of every name and label on the engine."""
    directory: Path
    """The folder of the first file, absolute."""
    engine: EngineKind = "docker"
    """What runs the servers."""
    servers: Names[Server]
    """By name, in the file's order."""
    secrets: Names[SecretSources]
    """By name."""
    profiles: Names[Profile]
    """By name; always holds `default`."""
    clients: Names[Client]
    """By name."""
    gateway: Gateway
    """The endpoint."""
    runners: Runners
    """Images for packages."""
    provenance: Provenance = Provenance()
    """What approval has to know of texts that are values by now."""
    policy: Policy | None = None
    """What it accepts at all: its own policies and the machine's together."""
    signers: tuple[Signer, ...] = ()
    """Who has to have signed its images: all of them."""
    interceptors: tuple[Interceptor, ...] = ()
    """In order, outermost first."""
    session: Session = Session()
    """Of each client."""
    audit: Audit = Audit()
    """The audit log."""
    lock: Lock | None = None
    """What its servers were when somebody accepted them; None without a lock file."""

    @property
    def launched(self) -> dict[str, Server]:
        """The servers that run here, in order."""
        return {name: server for name, server in self.servers.items() if not server.is_remote}


__all__ = [
    "Client",
    "ComposeFile",
    "EngineKind",
    "Gateway",
    "Limits",
    "PlainName",
    "Profile",
    "Project",
    "Provenance",
    "Runners",
    "ServerName",
]
