"""One server of the file: what to launch, how to speak to it, what it may do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mcpcompose.spec.base import Model, Names
from mcpcompose.spec.destination import Destination
from mcpcompose.spec.health import HealthCheck
from mcpcompose.spec.limits import ServerLimits, Timeouts
from mcpcompose.spec.secret import SecretUse
from mcpcompose.spec.values import AlsoWritten, Duration, Explained, Flag, ServerName, Size, Template
from mcpcompose.spec.written import (
    NUMBER,
    TEXT,
    Items,
    OneOrMany,
    Text,
    TextItems,
    Words,
    as_build,
    as_extends,
    as_secret_use,
    as_volume,
)

SOURCES = ("image", "build", "package", "process", "url")
"""The keys that say what a server is; exactly one of them is given."""


class HttpTransport(Model):
    """Streamable HTTP inside the container."""

    port: Annotated[int, Field(ge=1, le=65535)]
    """The port the server listens on, inside the container; it is never published."""
    path: Annotated[str, Field(pattern="^/")] = "/mcp"
    """The path of the MCP endpoint."""


class TransportHttp(Model):
    """The long form of `transport`."""

    http: HttpTransport
    """Speak streamable HTTP to the server, at this port and path."""


class NetworkAllow(Model):
    """A network whose only ways out are the destinations named here; needs a person's approval."""

    allow: Annotated[tuple[Destination, ...], Field(min_length=1, max_length=256)]
    """Destinations as `host:port` or `*.domain:port`, such as `api.github.com:443`; names, no addresses."""


class Volume(Model):
    """A bind mount of a host path, or a named volume."""

    type: Annotated[Literal["bind", "volume"], Explained("A host path.", "A named volume of this project.")]
    """`bind` for a host path, `volume` for a named volume of this project."""
    source: Annotated[str, Field(min_length=1)]
    """The absolute host path, or the volume's name."""
    target: Annotated[str, Field(pattern="^/")]
    """The absolute path inside the container."""
    read_only: Flag = False
    """Mount it read-only."""


class ToolOverride(Model):
    """What clients are told about one tool, instead of what the server says."""

    description: Text | None = None
    """The description that clients, and the models behind them, read."""
    title: Text | None = None
    """The name that people see."""

    @model_validator(mode="after")
    def _says_something(self) -> ToolOverride:
        if self.description is None and self.title is None:
            raise ValueError("say another `description` or `title`")
        return self


class Tools(Model):
    """Which tools clients see, by the server's own names; `deny` wins over `allow`."""

    allow: tuple[str, ...] | None = None
    """Globs of the tools to expose; default: all."""
    deny: tuple[str, ...] = ()
    """Globs of the tools never to expose."""
    rename: Names[str] = Field(default_factory=dict)
    """New names by the server's own name; the prefix goes in front of the new name."""
    override: Names[ToolOverride] = Field(default_factory=dict)
    """Other descriptions and titles, by the server's own name of the tool; what it does stays as it is."""


class Instances(Model):
    """How many instances a server with a `scope` other than `shared` may have."""

    limit: Annotated[int, Field(ge=1, le=256)] = 16
    """How many may exist at once, beside the shared one; who comes later waits for one, at most `timeouts.start`."""
    warm: Annotated[int, Field(ge=0, le=64)] = 0
    """How many to keep started ahead of need; they count."""

    @model_validator(mode="after")
    def _warm_is_within_limit(self) -> Instances:
        if self.warm > self.limit:
            raise ValueError(f"`warm` ({self.warm}) is more than `limit` ({self.limit})")
        return self


VolumeItem = Annotated[Volume, BeforeValidator(as_volume), AlsoWritten(TEXT)]
SecretItem = Annotated[SecretUse, BeforeValidator(as_secret_use), AlsoWritten(TEXT)]


class Build(Model):
    """Build the image from a Dockerfile. Runs a stranger's instructions on the engine: needs approval."""

    context: Annotated[str, Field(min_length=1)]
    """The folder that holds the build's files."""
    dockerfile: str = "Dockerfile"
    """The Dockerfile's path, relative to the context."""
    args: TextItems = Field(default_factory=dict)
    """Build arguments; no secrets here, they stay in the image's history."""
    target: str | None = None
    """The stage to build."""


class Extends(Model):
    """Another server whose definition is the ground of this one."""

    server: Text | None = None
    """The other server's name."""
    service: Text | None = None
    """Compose's word for `server`."""
    file: Text | None = None
    """The file that declares it, relative to this one; default: this file."""

    @model_validator(mode="after")
    def _names_one(self) -> Extends:
        if (self.server is None) is (self.service is None):
            raise ValueError("name the other server as `server` (or `service`, as in Compose)")
        return self


TransportWord = Annotated[
    Literal["stdio", "http", "sse"],
    Explained(
        "Over its standard streams.",
        "Streamable HTTP: of a `url`, or `{http: {port, path}}` of a container.",
        "The transport of 2024-11-05, of a `url`.",
    ),
]
NetworkWord = Annotated[
    Literal["none", "isolated", "open", "host"],
    Explained(
        "No network at all.",
        "A network of its own without a way out.",
        "A network of its own with a way out; needs a person's approval.",
        "The host's network; needs `unsafe` and a person's approval.",
    ),
]


class Server(Model):
    """An MCP server that clients of this project may use."""

    image: Text | None = None
    """Run this container image."""
    build: Annotated[Build | None, BeforeValidator(as_build), AlsoWritten(TEXT)] = None
    """Build the image from a Dockerfile and run it."""
    package: Annotated[str | None, Field(pattern=r"^(pypi|npm):\S+$")] = None
    """Run a package, as `pypi:name==version` or `npm:name@version`: in a container, or as a process of that engine."""
    process: Annotated[Words | None, Field(min_length=1)] = None
    """Run this command on the host, without isolation; needs a person's approval."""
    url: Annotated[Template, Field(min_length=1)] | None = None
    """Use a remote server at this URL."""
    from_: Annotated[str | None, Field(alias="from")] = None
    """An entry of a catalog, as `catalog/entry` or `catalog/entry@version`; keys here come on top of what it says."""

    runner: Text | None = None
    """The image that a `package` is installed on; default: the project's `runners`."""
    command: Words | None = None
    """The container's arguments, as in Compose; for a `package`, the program to run instead of the package's own."""
    args: Words = ()
    """Arguments of a `package`'s program."""
    entrypoint: Words | None = None
    """The container's entry point instead of the image's."""
    transport: TransportWord | TransportHttp | None = None
    """How to speak to it: `stdio` (default), or `{http: {port, path}}`; to a `url` `http` (default), or `sse`."""
    headers: Items = Field(default_factory=dict)
    """Headers sent to a `url`; `${secret:name}` is allowed here."""
    era: Annotated[
        Literal["auto", "legacy", "modern"],
        Explained("Found out by asking.", "The `initialize` handshake, up to 2025-11-25.", "2026-07-28, stateless."),
    ] = "auto"
    """The protocol revisions it speaks: the `initialize` handshake (legacy), or 2026-07-28 (modern)."""

    environment: Items = Field(default_factory=dict)
    """Environment variables; a key without a value is taken from the environment of `mcp-compose`."""
    env_file: OneOrMany = ()
    """Files with environment variables; `environment` wins."""
    secrets: tuple[SecretItem, ...] = ()
    """The secrets it gets, and no others."""

    network: NetworkWord | NetworkAllow | None = None
    """`none` (default for stdio), `isolated` (default for http), `{allow: [host:port]}`, `open`, or `host`."""
    volumes: tuple[VolumeItem, ...] = ()
    """Bind mounts and named volumes, as in Compose; `down -v` removes named volumes."""
    tmpfs: OneOrMany = ("/tmp",)  # noqa: S108  a path inside the container
    """Paths with an empty in-memory file system."""
    read_only: Flag = True
    """Mount the container's root read-only."""
    user: Annotated[Text, AlsoWritten(NUMBER)] | None = None
    """The user, as `uid` or `uid:gid`; default: the image's."""
    working_dir: Text | None = None
    """The working directory."""
    cpus: Annotated[float, Field(gt=0, le=1024)] = 1.0
    """CPU limit, in cores."""
    mem_limit: Size = 1 << 30
    """Memory limit."""
    pids_limit: Annotated[int, Field(ge=1, le=4194304)] = 256
    """Limit of processes and threads."""
    shm_size: Size | None = None
    """Size of `/dev/shm`."""
    extra_hosts: TextItems = Field(default_factory=dict)
    """Additional names in the container's hosts file, `name: address`."""
    dns: OneOrMany = ()
    """DNS servers."""
    platform: Text | None = None
    """The image's platform, such as `linux/arm64`."""
    pull_policy: Annotated[
        Literal["always", "missing", "never"],
        Explained("Before every start.", "When the image is not there.", "It has to be there already."),
    ] = "missing"
    """When to pull the image."""
    labels: Items = Field(default_factory=dict)
    """Labels on the container; our own cannot be overridden."""
    init: Flag = True
    """Run an init process that forwards signals and reaps children."""

    privileged: Flag = False
    """Refused unless `unsafe` names it."""
    cap_add: tuple[str, ...] = ()
    """Linux capabilities to add; refused unless `unsafe` names each."""
    devices: tuple[str, ...] = ()
    """Host devices; refused unless `unsafe` names each."""
    security_opt: tuple[str, ...] = ()
    """Security options; refused unless `unsafe` names each."""
    pid: Literal["host"] | None = None
    """Share the host's process namespace; refused unless `unsafe` names it."""
    ipc: Literal["host"] | None = None
    """Share the host's IPC namespace; refused unless `unsafe` names it."""
    userns_mode: Literal["host"] | None = None
    """Share the host's user namespace; refused unless `unsafe` names it."""
    unsafe: tuple[str, ...] = ()
    """Dangerous settings it really needs, such as `cap_add:NET_ADMIN` or `mount:/etc`; needs a person's approval."""

    tools: Tools = Tools()
    """Which of its tools clients see."""
    prefix: Annotated[str | None, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9-]{0,23})?$")] = None
    """What stands before `__` in exposed names; default: the server's name; empty: no prefix."""
    title: Annotated[Text, Field(max_length=64)] | None = None
    """The name people see: in `ps`, in clients before the titles of its tools and prompts, and as its `serverInfo`."""
    instructions: str | None = None
    """What clients are told about this server, instead of its own instructions."""

    restart: Annotated[
        Literal["no", "on-failure", "always", "unless-stopped"],
        Explained(
            "It stays down until `up` or `restart`.",
            "It is started again unless it ended with code 0.",
            "It is always started again.",
            "It is started again unless somebody stopped it.",
        ),
    ] = "unless-stopped"
    """What to do when it ends by itself; done by `mcp-compose`, with backoff, never by the engine."""
    stop_grace_period: Duration = 10.0
    """How long it may take to stop."""
    depends_on: OneOrMany = ()
    """Servers to start before it."""
    timeouts: Timeouts = Timeouts()
    """Its time limits."""
    limits: ServerLimits = ServerLimits()
    """What it accepts, may send, and may hold."""
    integrity: Annotated[
        Literal["first-sight", "accept", "off"],
        Explained(
            "What it offers when first seen is accepted, unless plainly poisoned; changed or new is withheld.",
            "Nothing of it is served before a person accepted it on this machine.",
            "Whatever it offers is served.",
        ),
    ] = "first-sight"
    """What of its tools, prompts and instructions is served where no lock says it: a change needs a person."""
    scope: Annotated[
        Literal["shared", "client", "session", "call"],
        Explained(
            "One instance for all.",
            "One for all sessions of a client.",
            "One for each session; on 2026-07-28, which has none, one for each client.",
            "One for each call.",
        ),
    ] = "shared"
    """Who shares an instance: all, the sessions of one client, one session, or nobody (one for each call)."""
    instances: Instances = Instances()
    """How many instances it may have when its `scope` is not `shared`."""
    idle_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Stop it after so long without a call, and start it on the next one; default: never."""
    healthcheck: HealthCheck | None = None
    """A command that says whether it is well, run by the engine inside the container; unwell, it is restarted."""
    extends: Annotated[Extends | None, BeforeValidator(as_extends), AlsoWritten(TEXT)] = None
    """Start from another server's definition, of this file or of another one; keys here come on top of it."""
    auth: Names[Any] | None = None
    """OAuth (not supported yet)."""
    config: Names[Any] | None = None
    """What the entry of a catalog is given; checked against the schema that it declares."""

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Server:
        given = [key for key in SOURCES if getattr(self, key) is not None]
        if len(given) != 1:
            wanted = ", ".join(f"`{key}`" for key in SOURCES)
            hint = "; a command on the host is `process`" if not given and self.command else ""
            raise ValueError(f"a server needs exactly one of {wanted}{hint}")
        return self

    @property
    def http(self) -> HttpTransport | None:
        """Where a launched server listens; None for stdio and for remote servers."""
        return self.transport.http if isinstance(self.transport, TransportHttp) else None

    @property
    def is_remote(self) -> bool:
        """It is not launched here."""
        return self.url is not None


__all__ = [
    "SOURCES",
    "Build",
    "Extends",
    "HealthCheck",
    "HttpTransport",
    "Instances",
    "Server",
    "ServerLimits",
    "ServerName",
    "Timeouts",
    "ToolOverride",
    "Tools",
    "TransportHttp",
    "Volume",
]
