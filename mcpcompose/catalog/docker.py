"""
Docker's catalog format, read as it is: `registry: {name: server}`, and the artifacts of later versions with `servers`.

Every field means here what it means there, is only for people to read, or makes the entry one that cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mcpcompose.catalog import docker_template
from mcpcompose.catalog.docker_template import NotCarriedOver, Scope
from mcpcompose.catalog.entry import ENTRY_NAME, Entry, Secret, secret_name
from mcpcompose.catalog.marked import NotReadable, Value, plain
from mcpcompose.catalog.reading import Reading, shown
from mcpcompose.spec.server import SOURCES

FORMAT: Final = "docker"

_TOP: Final = frozenset(
    {"version", "name", "displayName", "registry", "policy", "title", "servers", "ref", "source", "digest"}
)
_TO_READ: Final = frozenset(
    {
        "name", "title", "description", "icon", "readme", "toolsUrl", "source", "upstream", "dateAdded", "ref",
        "prompts", "resources", "metadata", "longLived",
    }
)  # fmt: skip
"""Fields for people, and `longLived`: one instance runs on between calls unless `scope` says otherwise."""
_TO_RUN: Final = frozenset(
    {
        "type", "image", "command", "env", "secrets", "volumes", "user", "disableNetwork", "allowHosts", "extraHosts",
        "extra_hosts", "tools", "config", "prefix", "remote", "sseEndpoint", "oauth", "policy", "dynamic",
    }
)  # fmt: skip
_TRANSPORTS: Final = {
    "sse": "sse",
    "http": "http",
    "streaming": "http",
    "streamable-http": "http",
    "streamable": "http",
}
_OAUTH: Final = (
    "`oauth` is not supported yet",
    'give a token yourself: `headers: {Authorization: "Bearer ${secret:NAME}"}`',
)


def is_docker(document: Value) -> bool:
    """The document looks like one of Docker's."""
    return "registry" in document.fields or isinstance(getattr(document.fields.get("servers"), "value", None), list)


def entries(document: Value) -> Iterator[Entry]:
    """The entries of *document*. Raises `NotReadable` when it is no such catalog."""
    for key, value in document.fields.items():
        if key not in _TOP and not key.startswith("x-"):
            raise NotReadable(
                f"unknown key `{shown(key)}` of Docker's catalog format", value.key.line, value.key.column
            )
    refused = _decision(document)
    found = _registry(document.get("registry")) if "registry" in document.fields else _servers(document.get("servers"))
    names: set[str] = set()
    for name, value, allowed in found:
        if not ENTRY_NAME.fullmatch(name):
            raise NotReadable(f"`{shown(name)}` is not a name for a server", value.key.line, value.key.column)
        if name in names:
            raise NotReadable(f"the server `{name}` stands here a second time", value.line, value.column)
        names.add(name)
        yield _Server(name, value).entry(allowed, refused)


def _registry(registry: Value | None) -> Iterator[tuple[str, Value, Value | None]]:
    if registry is not None and not isinstance(registry.value, dict):
        raise NotReadable("`registry` must be a mapping", registry.line, registry.column)
    for name, value in registry.fields.items() if registry is not None else ():
        yield name, value, None


def _servers(servers: Value | None) -> Iterator[tuple[str, Value, Value | None]]:
    """The servers of an artifact: each with a snapshot of what the catalog held about it."""
    for item in servers.items if servers is not None else ():
        snapshot = item.get("snapshot")
        server = snapshot.get("server") if snapshot is not None else None
        name = server.get("name") if server is not None else None
        if server is not None and name is not None and name.text:
            yield name.text, server, item.get("tools")
            continue
        image, source = item.get("image"), item.get("source")
        told = (image or source or item).text or "server"
        called = told.rpartition("/")[2].partition("@")[0].partition(":")[0] or "server"
        yield called, item.but({**item.fields, **({} if image is not None else {"type": item.but("registry")})}), None


def _decision(value: Value) -> Value | None:
    """Where Docker's own policy refuses *value*."""
    policy = value.get("policy")
    allowed = policy.get("allowed") if policy is not None else None
    return policy if allowed is not None and allowed.value is False else None


class _Server:
    """One server of Docker's format."""

    def __init__(self, name: str, value: Value) -> None:
        self._name, self._value = name, value
        self._reading = Reading(name, value)
        self._out: dict[str, Value] = {}
        self._needs_one_of: tuple[str, ...] = ()

    def entry(self, allowed: Value | None, refused: Value | None) -> Entry:
        reading, value = self._reading, self._value
        if not isinstance(value.value, dict):
            reading.refuse(value, "a server must be a mapping")
        reading.known(value, _TO_READ | _TO_RUN | {"snapshot"}, "Docker's catalog format")
        for decision in (refused, _decision(value)):
            if decision is not None:
                reading.refuse(decision.key, "Docker's policy does not allow this server", unless=())
        secrets = self._secrets()
        schema = self._schema()
        self._scope = self._scope_of(secrets)
        self._source()
        self._container()
        self._tools(allowed)
        self._authentication(secrets)
        metadata = reading.map_of(value, "metadata") or value.but({})
        owner, category = reading.text(metadata, "owner"), reading.text(metadata, "category")
        tags = reading.tags(metadata)
        return reading.entry(
            self._out,
            secrets=secrets,
            title=reading.text(value, "title"),
            description=reading.text(value, "description"),
            icon=reading.text(value, "icon"),
            publisher=owner,
            license=reading.text(metadata, "license"),
            homepage=reading.text(value, "upstream") or reading.text(value, "readme"),
            tags=tuple(dict.fromkeys((*tags, *([category] if category else [])))),
            tools=reading.tools(value),
            needs_one_of=self._needs_one_of,
            **schema,
        )

    def _secrets(self) -> list[Secret]:
        """The secrets; of several that do not say whether they are needed, one is (Docker itself needs none)."""
        reading, found = self._reading, []
        unsaid = [item for item in reading.list_of(self._value, "secrets") if item.get("required") is None]
        for item in reading.list_of(self._value, "secrets"):
            reading.known(item, ("name", "env", "example", "description", "required", "title", "prompt"), "a secret")
            name = reading.text(item, "name")
            if not name:
                reading.refuse(item, "a secret needs a `name`")
                continue
            required = item.get("required")
            is_required = len(unsaid) == 1 if required is None else required.value is not False
            found.append(
                Secret(
                    secret_name(name),
                    item.line,
                    item.column,
                    env=reading.text(item, "env") or None,
                    description=reading.text(item, "description") or reading.text(item, "prompt"),
                    is_required=is_required,
                    example=reading.text(item, "example"),
                    is_delivered=not self._is_remote,
                )
            )
        if len(unsaid) > 1:
            self._needs_one_of = tuple(secret_name(name) for one in unsaid if (name := reading.text(one, "name")))
        return found

    @property
    def _is_remote(self) -> bool:
        remote = self._value.get("remote")
        return self._value.get("sseEndpoint") is not None or (remote is not None and remote.get("url") is not None)

    def _schema(self) -> dict[str, Any]:
        schemas = self._reading.list_of(self._value, "config")
        for item in schemas:
            if not isinstance(item.value, dict):
                self._reading.refuse(item, "an item of `config` must be a JSON Schema, a mapping")
        kept = [item for item in schemas if isinstance(item.value, dict)]
        self._schema_names = [name for item in kept if (name := self._reading.text(item, "name"))]
        if not kept:
            return {}
        if len(kept) == 1:
            one = plain(kept[0])
            one.pop("name", None)
        else:
            one = {
                "type": "object",
                "properties": {name: plain(item) for name, item in zip(self._schema_names, kept, strict=False)},
            }
        return {"config": one, "config_line": kept[0].line, "config_column": kept[0].column}

    def _scope_of(self, secrets: list[Secret]) -> Scope:
        names = {self._name, self._reading.text(self._value, "name")}
        if len(self._schema_names) <= 1:
            names |= set(self._schema_names)
        by_variable = {one.env: one.name for one in secrets if one.env}
        return Scope(names - {""}, by_variable, {})

    def _source(self) -> None:
        reading, value = self._reading, self._value
        kind = reading.text(value, "type")
        remote = reading.map_of(value, "remote") or value.but({})
        reading.known(remote, ("url", "transport_type", "headers"), "`remote`")
        address = remote.get("url") or value.get("sseEndpoint")
        image = value.get("image")
        if kind == "poci":
            at = value.fields["type"]
            reading.refuse(
                at, "`type: poci` is not supported: each of its tools is a container of its own", unless=SOURCES
            )
        elif kind == "registry":
            at = value.get("source") or value
            reading.refuse(
                at, "the server is in an MCP registry", "declare that registry as a catalog: `{registry: URL}`"
            )
        elif kind not in {"", "server", "remote", "image"}:
            reading.refuse(value.fields["type"], f"`type: {shown(kind)}` is not known")
        if address is not None and address.text:
            self._remote(remote, address)
        elif image is not None and image.text:
            self._out["image"] = image.but(image.text)
        elif not reading.refusals:
            reading.refuse(value.key, "the server has neither an `image` nor a `remote`", unless=SOURCES)

    def _remote(self, remote: Value, address: Value) -> None:
        reading = self._reading
        self._put("url", address, docker_template.text)
        said = remote.get("transport_type")
        kind = (said.text or "") if said is not None else ("sse" if remote.get("url") is None else "http")
        if kind and kind not in _TRANSPORTS:
            reading.refuse(said or remote, f"`transport_type: {shown(kind)}` is not known", unless=("transport",))
        elif _TRANSPORTS.get(kind) == "sse":
            self._out["transport"] = (said or address).but("sse")
        if (headers := reading.map_of(remote, "headers")) is not None:
            made = {
                name: one.but(self._carried(one, docker_template.text, "headers"))
                for name, one in headers.fields.items()
            }
            self._out["headers"] = headers.but(made)

    def _container(self) -> None:
        reading, value = self._reading, self._value
        if self._is_remote:
            self._nothing_to_run()
            return
        self._environment()
        for key, carry in (("command", docker_template.item), ("volumes", docker_template.volume)):
            if texts := reading.texts(value, key):
                items = [item.but(self._carried(item, carry, key)) for text, item in texts if text]
                self._out[key] = value.fields[key].but([item for item in items if item.value])
        if (user := value.get("user")) is not None and user.text:
            self._put("user", user, docker_template.text)
        self._network()
        hosts = reading.texts(value, "extraHosts") + reading.texts(value, "extra_hosts")
        pairs = {text.partition(":")[0]: item.but(text.partition(":")[2]) for text, item in hosts if text}
        if pairs:
            self._out["extra_hosts"] = hosts[0][1].but(pairs)
        prefix = value.get("prefix")
        if prefix is not None and prefix.text:
            self._out["prefix"] = prefix.but(prefix.text)

    def _nothing_to_run(self) -> None:
        """A remote server has no container that these could be about."""
        prefix = self._value.get("prefix")
        if prefix is not None and prefix.text:
            self._out["prefix"] = prefix.but(prefix.text)
        for key in ("command", "env", "volumes", "user", "disableNetwork", "allowHosts", "extraHosts", "extra_hosts"):
            found = self._value.get(key)
            if found is not None and found.value not in ([], {}, "", False):
                self._reading.refuse(found.key, f"`{key}` has no effect on a remote server")

    def _environment(self) -> None:
        reading = self._reading
        made: dict[str, Value] = {}
        for item in reading.list_of(self._value, "env"):
            reading.known(item, ("name", "value", "example", "description"), "a variable")
            name, value = reading.text(item, "name"), item.get("value")
            if not name:
                reading.refuse(item, "a variable needs a `name`")
            elif value is not None and value.text:
                carried = self._carried(
                    value, lambda text, scope: docker_template.text(text, scope, has_braces_only=True), "environment"
                )
                made[name] = item.but(carried).but(carried)
                values = {key: str(one.value) for key, one in made.items()}
                self._scope = Scope(self._scope.names, self._scope.secrets, values)
        if made:
            self._out["environment"] = self._value.fields["env"].but(made)

    def _network(self) -> None:
        """Docker's containers have a way out unless they are told not to have one."""
        reading, value = self._reading, self._value
        hosts = reading.texts(value, "allowHosts")
        if hosts:
            at = value.fields["allowHosts"]
            self._out["network"] = at.but({"allow": at.but([item.but(text) for text, item in hosts]).key})
        else:
            is_off = reading.flag(value, "disableNetwork")
            at = value.get("disableNetwork") or value
            self._out["network"] = at.but("none" if is_off else "open")

    def _tools(self, allowed: Value | None) -> None:
        if allowed is not None and isinstance(allowed.value, list):
            names = [item.but(item.text) for item in allowed.items if item.text]
            self._out["tools"] = allowed.but({"allow": allowed.but(names)})
        for tool in self._reading.list_of(self._value, "tools"):
            if tool.get("container") is not None and self._reading.text(self._value, "type") != "poci":
                self._reading.refuse(
                    tool.fields["container"].key, "a tool that is a container of its own is not supported"
                )
            elif (decision := _decision(tool)) is not None:
                self._deny(tool, decision)

    def _deny(self, tool: Value, decision: Value) -> None:
        """A tool that Docker's policy does not allow is never exposed."""
        rules = self._out.get("tools", self._value.but({}))
        denied = rules.get("deny") or decision.but([])
        name = decision.but(self._reading.text(tool, "name"))
        self._out["tools"] = rules.but({**rules.fields, "deny": denied.but([*denied.items, name])})

    def _authentication(self, secrets: list[Secret]) -> None:
        """OAuth, unless a token from somewhere else does too."""
        reading = self._reading
        known = {one.name for one in secrets}
        if (oauth := reading.map_of(self._value, "oauth")) is not None and oauth.value:
            providers = reading.list_of(oauth, "providers")
            names = [secret_name(reading.text(one, "secret")) for one in providers if reading.text(one, "secret")]
            if not providers or len(names) < len(providers) or not set(names) <= known:
                reading.refuse(oauth.key, _OAUTH[0], _OAUTH[1], ("auth", "headers"))
        if (dynamic := self._value.get("dynamic")) is not None and dynamic.value not in ({}, False):
            reading.refuse(dynamic.key, "`dynamic` is not supported", _OAUTH[1], ("auth", "headers"))

    def _put(self, key: str, value: Value, carry: Any) -> None:
        if carried := self._carried(value, carry, key):
            self._out[key] = value.but(carried)

    def _carried(self, value: Value, carry: Any, key: str) -> str:
        try:
            return str(carry(value.text or "", self._scope))
        except NotCarriedOver as error:
            self._reading.refuse(value, f"`{shown(value.text or '')}` cannot be carried over: {error}", unless=(key,))
            return ""
