"""
Entries of the MCP registry: `server.json`, as the registry's API gives it out, in all its revisions.

The first of a server's packages that can be run here is what an entry runs: an image before a package of pypi or npm,
then its remote address. Declared inputs become the `config` and the secrets of the entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mcpcompose.catalog.entry import Entry
from mcpcompose.catalog.inputs import Inputs
from mcpcompose.catalog.marked import NotReadable, Value
from mcpcompose.catalog.reading import Reading, shown
from mcpcompose.catalog.runtime_arguments import runtime_arguments
from mcpcompose.catalog.template import literal
from mcpcompose.spec.server import SOURCES

FORMAT: Final = "registry"
_NAME: Final = re.compile(r"[a-zA-Z0-9.-]{1,100}/[a-zA-Z0-9._-]{1,100}")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,254}")
_OFFICIAL: Final = "io.modelcontextprotocol.registry/official"
_SNAKE: Final = re.compile(r"_([a-z0-9])")
_LOCAL: Final = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):([0-9]{1,5})(/[^?#]*)?")
_DEFAULT_BASES: Final = {
    "npm": {"https://registry.npmjs.org"},
    "pypi": {"https://pypi.org", "https://pypi.org/simple", "https://pypi.python.org"},
}
_HUBS: Final = {"docker.io", "registry-1.docker.io", "index.docker.io", "hub.docker.com"}
_PREFERRED: Final = ("oci", "pypi", "npm")
_PACKAGE: Final = (
    "registryType", "registryBaseUrl", "identifier", "version", "fileSha256", "runtimeHint", "transport",
    "runtimeArguments", "packageArguments", "environmentVariables", "postInstallInstructions", "registryName", "name",
)  # fmt: skip
_REMOTE: Final = ("type", "transportType", "url", "headers", "variables")


def is_registry(document: Value) -> bool:
    """The document is a list of servers, as the registry's API gives it out."""
    servers = document.get("servers")
    if servers is None or not isinstance(servers.value, list):
        return False
    if "metadata" in document.fields:
        return True
    first = servers.items[0] if servers.items else None
    server = first.get("server") if first is not None else None
    return server is not None and server.get("name") is not None


def entries(document: Value) -> Iterator[Entry]:
    """
    The entries of *document*: the newest of each server by its name, the others as `name@version`.

    Raises `NotReadable` when it is no such list.
    """
    servers = document.get("servers")
    if servers is None or not isinstance(servers.value, list):
        raise NotReadable("this is no list of servers of an MCP registry", document.line, document.column)
    found: dict[str, dict[str, Value]] = {}
    newest: dict[str, str] = {}
    for item in servers.items:
        name, version, status, is_latest = _about(item)
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            message = f"`{shown(name)}` `{shown(version)}` is not a server of a registry"
            raise NotReadable(message, item.line, item.column)
        if status == "deleted":
            continue
        found.setdefault(name, {}).setdefault(version, item)
        if is_latest:
            newest.setdefault(name, version)
    for name, versions in found.items():
        for version, item in versions.items():
            yield _Server(name if version == newest.get(name) else f"{name}@{version}", item).entry()


def _about(item: Value) -> tuple[str, str, str, bool]:
    server = camel(item.get("server") or item)
    detail = server.get("versionDetail")
    version = _text(server, "version") or (_text(detail, "version") if detail is not None else "")
    meta = item.get("_meta")
    official = meta.get(_OFFICIAL) if meta is not None else None
    found = official or (detail if detail is not None else item)
    latest = found.get("isLatest") or found.get("is_latest")
    status = _text(official, "status") if official is not None else _text(server, "status")
    return _text(server, "name"), version, status, latest is None or latest.value is not False


def camel(value: Value) -> Value:
    """*value* with the keys of its first revisions (`is_secret`) as they are called now (`isSecret`)."""
    match value.value:
        case dict(fields):
            kept = {
                key if key.startswith("_") else _SNAKE.sub(lambda found: found[1].upper(), key): (
                    one if key == "_meta" else _variables(one) if key == "variables" else camel(one)
                )
                for key, one in fields.items()
            }
            return value.but(kept)
        case list(items):
            return value.but([camel(one) for one in items])
        case _:
            return value


def _variables(value: Value) -> Value:
    """Variables have names of their own, which stay as they are."""
    return value.but({key: camel(one) for key, one in value.fields.items()}) if value.fields else value


def _text(value: Value, key: str) -> str:
    found = value.get(key)
    return (found.text or "") if found is not None else ""


class _Server:
    def __init__(self, name: str, item: Value) -> None:
        self._item = item
        self._value = camel(item.get("server") or item)
        self._reading = Reading(name, item)
        self._inputs = Inputs(self._reading)
        self._out: dict[str, Value] = {}

    def entry(self) -> Entry:
        reading, value = self._reading, self._value
        self._run()
        _, version, status, _ = _about(self._item)
        repository = reading.map_of(value, "repository") or value.but({})
        icons = reading.list_of(value, "icons")
        return reading.entry(
            self._out,
            secrets=self._inputs.secrets.values(),
            version=version,
            title=reading.text(value, "title"),
            description=reading.text(value, "description"),
            publisher=_text(value, "name").partition("/")[0],
            homepage=reading.text(value, "websiteUrl") or reading.text(repository, "url"),
            icon=reading.text(icons[0], "src") if icons else "",
            note=self._status(status),
            **self._inputs.schema(),
        )

    def _status(self, status: str) -> str:
        meta = self._item.get("_meta")
        official = meta.get(_OFFICIAL) if meta is not None else None
        said = self._reading.text(official, "statusMessage") if official is not None else ""
        return "" if status in {"", "active"} else ": ".join(filter(None, (status, said)))

    def _run(self) -> None:
        """Take the first way to run it that can be taken; what stood in the way of the others is said if none can."""
        reading, value = self._reading, self._value
        packages = reading.list_of(value, "packages")
        order = {kind: index for index, kind in enumerate(_PREFERRED)}
        ways = sorted(packages, key=lambda one: order.get(_kind(one), len(order)))
        for index, (at, take) in enumerate(
            [(one, self._package) for one in ways] + [(one, self._remote) for one in reading.list_of(value, "remotes")]
        ):
            before, self._out = list(reading.refusals), {}
            self._inputs = Inputs(reading)
            take(at)
            if len(reading.refusals) == len(before):
                reading.refusals.clear()
                return
            if index == 0:
                kept = self._out, self._inputs
            else:
                self._out, self._inputs = kept
        if not packages and not reading.list_of(value, "remotes"):
            reading.refuse(self._item, "the server has neither packages nor remotes", unless=SOURCES)

    def _package(self, package: Value) -> None:
        reading = self._reading
        reading.known(package, _PACKAGE, "a package")
        kind, identifier = _kind(package), reading.text(package, "identifier") or reading.text(package, "name")
        version = reading.text(package, "version")
        match kind:
            case "oci":
                self._out["image"] = package.but(
                    literal(_image(reading.text(package, "registryBaseUrl"), identifier, version))
                )
            case "npm" | "pypi":
                self._check_origin(package, kind)
                at = f"{'==' if kind == 'pypi' else '@'}{version}" if version else ""
                self._out["package"] = (package.get("identifier") or package).but(literal(f"{kind}:{identifier}{at}"))
            case _:
                known = "packages that can be run are `oci`, `pypi` and `npm`"
                reading.refuse(package, f"the package type `{shown(kind)}` is not supported", known, SOURCES)
                return
        environment = {}
        for item in reading.list_of(package, "environmentVariables"):
            if (made := self._inputs.variable(item)) is not None:
                environment[_text(item, "name")] = made
        if environment:
            self._out["environment"] = package.fields["environmentVariables"].but(environment)
        arguments = [
            made for item in reading.list_of(package, "packageArguments") for made in self._inputs.argument(item)
        ]
        if arguments:
            self._out["command" if kind == "oci" else "args"] = package.fields["packageArguments"].but(arguments)
        runtime_arguments(kind, reading.list_of(package, "runtimeArguments"), self._inputs, reading, self._out)
        self._transport(package)
        self._out.setdefault("network", package.but("open"))  # whoever runs it without us gives it one with a way out

    def _check_origin(self, package: Value, kind: str) -> None:
        base = package.get("registryBaseUrl")
        if base is not None and (base.text or "").rstrip("/") not in _DEFAULT_BASES[kind]:
            hint = "name the package in your own file, where you have set that index up"
            self._reading.refuse(
                base, f"packages of another index (`{shown(base.text or '')}`) are not supported", hint, ("package",)
            )
        if (digest := package.get("fileSha256")) is not None:
            hint = "the lock file pins what is installed"
            self._reading.refuse(digest.key, "`fileSha256` of a package is not supported", hint, ("package",))

    def _transport(self, package: Value) -> None:
        reading = self._reading
        transport = package.get("transport")
        kind = _text(transport, "type") if transport is not None else "stdio"
        if transport is None or kind in {"", "stdio"}:
            return
        url = reading.text(transport, "url")
        found = _LOCAL.fullmatch(url)
        if kind != "streamable-http" or found is None or not 1 <= int(found[1]) <= 65535:  # noqa: PLR2004  a port
            hint = "say how to speak to it: `transport: {http: {port: 8000, path: /mcp}}`"
            reading.refuse(
                transport, f"the transport `{shown(kind)}` at `{shown(url)}` is not supported", hint, ("transport",)
            )
            return
        if transport.get("headers") is not None:
            reading.refuse(transport.fields["headers"].key, "`headers` of a server in a container are not supported")
        where = {"port": transport.but(int(found[1])), "path": transport.but(found[2] or "/")}
        self._out["transport"] = transport.but({"http": transport.but(where)})

    def _remote(self, remote: Value) -> None:
        reading = self._reading
        reading.known(remote, _REMOTE, "a remote")
        kind = reading.text(remote, "type") or reading.text(remote, "transportType")
        url = remote.get("url")
        if url is None or not url.text or kind not in {"streamable-http", "sse", "streamable", "http", ""}:
            reading.refuse(remote, f"a remote of the type `{shown(kind)}` is not supported", unless=SOURCES)
            return
        self._out["url"] = url.but(self._inputs.filled(url.text, reading.map_of(remote, "variables")))
        if kind == "sse":
            self._out["transport"] = remote.but("sse")
        headers = {}
        for item in reading.list_of(remote, "headers"):
            if (made := self._inputs.variable(item, in_text=True)) is not None:
                headers[_text(item, "name")] = made
        if headers:
            self._out["headers"] = remote.fields["headers"].but(headers)


def _kind(package: Value) -> str:
    said = _text(package, "registryType") or _text(package, "registryName")
    return "oci" if said == "docker" else said


def _image(base: str, identifier: str, version: str) -> str:
    """The image of an `oci` package: a whole reference, or the parts that the first revisions kept apart."""
    host = base.partition("://")[2].strip("/")
    name = identifier if not host or host in _HUBS or identifier.startswith(f"{host}/") else f"{host}/{identifier}"
    is_whole = "@" in name or ":" in name.rpartition("/")[2]
    if is_whole or not version:
        return name
    return f"{name}@{version}" if version.startswith("sha256:") else f"{name}:{version}"


__all__: Any = ["FORMAT", "camel", "entries", "is_registry"]
