"""
Which keys fit which kind of server, and which the process engine can honour.

A key that would have no effect is a problem, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mcpcompose.config.tree import Map, Path, key_position, value_position
from mcpcompose.errors import Problem
from mcpcompose.spec.project import EngineKind
from mcpcompose.spec.server import SOURCES, Server, TransportHttp

_CONTAINER: Final = frozenset(
    {
        "entrypoint", "runner", "network", "volumes", "tmpfs", "read_only", "user", "cpus", "mem_limit", "pids_limit",
        "shm_size", "extra_hosts", "dns", "platform", "pull_policy", "labels", "init", "privileged", "cap_add",
        "devices", "security_opt", "pid", "ipc", "userns_mode", "unsafe", "healthcheck",
    }
)  # fmt: skip
"""Keys that only mean something for a container."""
_LAUNCHED: Final = frozenset(
    {
        "command", "args", "environment", "env_file", "secrets", "working_dir", "restart", "stop_grace_period",
        "scope", "instances", "idle_timeout",
    }
)  # fmt: skip
"""Keys that only mean something for what is started here."""

UNFIT: Final[dict[str, frozenset[str]]] = {
    "image": frozenset({"args", "runner", "headers"}),
    "build": frozenset({"args", "runner", "headers", "pull_policy"}),
    "package": frozenset({"entrypoint", "headers"}),
    "process": _CONTAINER | {"command", "args", "headers"},
    "url": _CONTAINER | _LAUNCHED,
}
"""Keys that do not fit a kind of server."""

INSTEAD: Final[dict[tuple[str, str], str]] = {
    ("image", "args"): "the container's arguments are `command`",
    ("build", "args"): "the container's arguments are `command`; build arguments are `build: {args: …}`",
    ("package", "entrypoint"): "the program to run instead of the package's own is `command`",
    ("process", "command"): "write the whole command in `process`",
    ("process", "args"): "write the whole command in `process`",
    ("process", "healthcheck"): "a container has one; a process that ends is started again as `restart` says",
    ("url", "healthcheck"): "a remote server that does not answer is asked again by itself",
    ("url", "secrets"): "write `${secret:name}` in `headers`",
    ("url", "scope"): "every session of a client has one of its own with a remote server",
    ("url", "environment"): "write `${secret:name}` or `${VARIABLE}` in `headers` or `url`",
}
_WAYS_OUT: Final = "use `package`, `process` or `url`, or run it with `--engine docker`"

_CLAUSE: Final = r"(?:===?|~=|!=|<=|>=|<|>)[A-Za-z0-9][A-Za-z0-9.*+!_-]*"
PYPI: Final = rf"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]+\])?(?:{_CLAUSE}(?:,{_CLAUSE})*)?"
_NPM_NAME: Final = r"[a-z0-9~][a-z0-9._~-]*"
NPM: Final = rf"(?:@{_NPM_NAME}/)?{_NPM_NAME}(?:@[\^~<>=]*[A-Za-z0-9][A-Za-z0-9.+*_-]*)?"
"""How packages are written, without the name of their index."""
_PACKAGES: Final = {"pypi": (re.compile(PYPI), "pypi:name==1.2.3"), "npm": (re.compile(NPM), "npm:name@1.2.3")}


def check_fit(name: str, server: Server, tree: Map, engine: EngineKind) -> Iterator[Problem]:
    """What does not fit together in one server."""
    path: Path = ("servers", name)
    kind = next(key for key in SOURCES if getattr(server, key) is not None)
    given = server.model_fields_set
    unfit = UNFIT[kind] & given
    for key in sorted(unfit):
        article = "an" if kind == "image" else "a"
        message = f"`{key}` does not fit {article} `{kind}`"
        yield Problem(message, key_position(tree, (*path, key)), INSTEAD.get((kind, key)))
    if engine == "process":
        yield from _process_engine(name, kind, server, tree, unfit)
    else:
        yield from _inside(kind, server, tree, path)
    if server.package is not None:
        yield from _package(server.package, tree, path)
    yield from _transport(kind, server, tree, path)
    if kind != "url":
        yield from _instances(server, tree, path, on_host=engine == "process" or kind == "process")


def _instances(server: Server, tree: Map, path: Path, *, on_host: bool) -> Iterator[Problem]:
    if server.scope == "shared" and "instances" in server.model_fields_set:
        message = "`instances` has no effect with `scope: shared`"
        yield Problem(message, key_position(tree, (*path, "instances")), "write `scope: session`, `client` or `call`")
    if server.scope != "shared" and server.healthcheck is not None and server.healthcheck.command is not None:
        message = f"`healthcheck` does not fit `scope: {server.scope}`: it is about the one instance that all share"
        yield Problem(message, key_position(tree, (*path, "healthcheck")), "use `scope: shared`, or `idle_timeout`")
    if server.scope != "shared" and server.http is not None and (on_host or server.network == "host"):
        message = f"`scope: {server.scope}` does not fit a server that listens at a port of the host"
        hint = "use `scope: shared`, the stdio transport, or a container with a network of its own"
        yield Problem(message, value_position(tree, (*path, "scope")), hint)


def _process_engine(name: str, kind: str, server: Server, tree: Map, said: frozenset[str]) -> Iterator[Problem]:
    path: Path = ("servers", name)
    if kind in ("image", "build"):
        article = "an" if kind == "image" else "a"
        message = f"server `{name}` is {article} `{kind}`, which the engine `process` cannot run"
        yield Problem(message, key_position(tree, (*path, kind)), _WAYS_OUT)
        return
    for key in sorted((_CONTAINER & server.model_fields_set) - said):
        message = f"the engine `process` cannot honour `{key}`"
        yield Problem(message, key_position(tree, (*path, key)), "remove it, or run the server with `--engine docker`")


def _inside(kind: str, server: Server, tree: Map, path: Path) -> Iterator[Problem]:
    """Paths inside a container are absolute."""
    if kind in ("process", "url"):
        return
    if server.working_dir is not None and not server.working_dir.startswith("/"):
        yield Problem("`working_dir` must be an absolute path", value_position(tree, (*path, "working_dir")))
    for index, text in enumerate(server.tmpfs):
        if not text.startswith("/"):
            message = f"item {index + 1} of `tmpfs` must be an absolute path"
            yield Problem(message, value_position(tree, (*path, "tmpfs", index)))


def _package(package: str, tree: Map, path: Path) -> Iterator[Problem]:
    ecosystem, _, requirement = package.partition(":")
    pattern, example = _PACKAGES[ecosystem]
    if not pattern.fullmatch(requirement):
        message = f"`{requirement}` is not a package with a version; write it like `{example}`"
        yield Problem(message, value_position(tree, (*path, "package")))


def _transport(kind: str, server: Server, tree: Map, path: Path) -> Iterator[Problem]:
    position = value_position(tree, (*path, "transport"))
    if kind == "url":
        if isinstance(server.transport, TransportHttp):
            hint = "write `transport: http`, or leave it out"
            yield Problem("the port and path of a `url` are part of it", position, hint)
        elif server.transport == "stdio":
            yield Problem("a `url` cannot speak `stdio`", position, "leave `transport` out")
        return
    if server.transport == "sse":
        hint = "write `transport: {http: {port: 8000}}`, or leave it out"
        yield Problem("`transport: sse` is for servers with a `url`", position, hint)
    if server.transport == "http":
        hint = "write `transport: {http: {port: 8000}}`"
        yield Problem("`transport: http` needs the port that the server listens on", position, hint)
    if isinstance(server.transport, TransportHttp) and server.network == "none":
        message = "a server with an http transport cannot be reached with `network: none`"
        yield Problem(message, value_position(tree, (*path, "network")), "`isolated` has no way out either")
