"""Our own catalog format: `catalog: 1`, and what `servers` may be used by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mcpcompose.catalog.entry import ENTRY_NAME, Entry, Secret
from mcpcompose.catalog.marked import NotReadable, Value
from mcpcompose.catalog.reading import Reading, schema_of, shown
from mcpcompose.spec.catalog import CatalogEntry, CatalogFile, CatalogSecret
from mcpcompose.spec.server import SOURCES, Server

FORMAT: Final = "own"
VERSION: Final = 1

NOT_IN_A_CATALOG: Final = {
    "from": "an entry of a catalog is not made from another one",
    "extends": "an entry of a catalog is not made from another server",
    "depends_on": "what a server waits for is the project's own business",
    "env_file": "a catalog reads no files of the machine; declare `secrets`, or take values from `config`",
    "build": "a catalog holds no files to build from; name an `image`",
    "unsafe": "what is dangerous is named in the project's own file",
    "secrets": "declare the entry's `secrets` beside `server`",
    "config": "the schema of `config` stands beside `server`",
}
"""Keys of a server that an entry cannot have, and why."""
_SERVER_KEYS: Final = tuple(
    name
    for name in (field.alias or name for name, field in Server.model_fields.items())
    if name not in NOT_IN_A_CATALOG
)
_ENTRY_KEYS: Final = tuple(CatalogEntry.model_fields)
_SECRET_KEYS: Final = tuple(CatalogSecret.model_fields)


def is_own(document: Value) -> bool:
    """The document says that it is one of ours."""
    return "catalog" in document.fields


def entries(document: Value) -> Iterator[Entry]:
    """The entries of *document*. Raises `NotReadable` when it is no such catalog."""
    version = document.fields["catalog"]
    if version.value != VERSION or isinstance(version.value, bool):
        raise NotReadable(
            "this version of the catalog format is not known; write `catalog: 1`", version.line, version.column
        )
    for key, value in document.fields.items():
        if key not in CatalogFile.model_fields and not key.startswith("x-"):
            raise NotReadable(f"unknown key `{shown(key)}` of a catalog", value.key.line, value.key.column)
    servers = document.get("servers")
    if servers is not None and not isinstance(servers.value, dict):
        raise NotReadable("`servers` must be a mapping", servers.line, servers.column)
    for name, value in (servers.fields if servers is not None else {}).items():
        if not ENTRY_NAME.fullmatch(name):
            message = f"`{shown(name)}` is not a name for an entry: letters, digits and `._/-`"
            raise NotReadable(message, value.key.line, value.key.column)
        yield _entry(name, value)


def _entry(name: str, value: Value) -> Entry:
    reading = Reading(name, value)
    if not isinstance(value.value, dict):
        reading.refuse(value, "an entry must be a mapping")
        return reading.entry({})
    reading.known(value, _ENTRY_KEYS, "an entry")
    said = {
        key: reading.text(value, key)
        for key in ("title", "description", "publisher", "license", "homepage", "icon", "version", "note")
    }
    server = reading.map_of(value, "server")
    if server is None:
        reading.refuse(value.key, "the entry has no `server`")
    return reading.entry(
        _server(reading, server) if server is not None else {},
        secrets=_secrets(reading, value),
        tags=reading.tags(value),
        tools=reading.tools(value),
        **schema_of(reading, value.get("config")),
        **said,
    )


def _server(reading: Reading, server: Value) -> dict[str, Value]:
    for key, why in NOT_IN_A_CATALOG.items():
        if (found := server.get(key)) is not None:
            reading.refuse(found.key, f"`{key}` cannot stand in a catalog: {why}")
    reading.known(server, (*_SERVER_KEYS, *NOT_IN_A_CATALOG), "a server")
    if len(sources := [key for key in SOURCES if server.get(key) is not None]) > 1:
        reading.refuse(server.fields[sources[1]].key, f"`{sources[1]}` is a second source beside `{sources[0]}`")
    kept = {key: one for key, one in server.fields.items() if key in _SERVER_KEYS and one.value is not None}
    _no_surroundings(reading, kept)
    return kept


def _no_surroundings(reading: Reading, server: dict[str, Value]) -> None:
    """Refuse what would take from the machine without naming it: variables without a value, paths of the file."""
    environment = server.get("environment")
    for name, one in (environment.fields if environment is not None else {}).items():
        if one.value is None:
            hint = "give it a value, take it from `config`, or declare a secret"
            reading.refuse(one.key, f"the variable `{shown(name)}` has no value", hint, ("environment",))
    for item in environment.items if environment is not None else ():
        if item.text is not None and "=" not in item.text:
            reading.refuse(item, f"the variable `{shown(item.text)}` has no value", None, ("environment",))
    volumes = server.get("volumes")
    for item in volumes.items if volumes is not None else ():
        source = item.get("source") or item
        if source.text is not None and source.text[:1] in {".", "~"}:
            hint = "take the path from `config`: `${config:path}:/data`"
            reading.refuse(source, "a path of a catalog is relative to nothing", hint, ("volumes",))


def _secrets(reading: Reading, value: Value) -> list[Secret]:
    found = []
    declared = reading.map_of(value, "secrets")
    for name, one in (declared.fields if declared is not None else {}).items():
        if one.value is not None and not isinstance(one.value, dict):
            reading.refuse(one, f"the secret `{shown(name)}` must be a mapping, such as `{{env: NAME}}`")
            continue
        reading.known(one, _SECRET_KEYS, "a secret")
        required = one.get("required")
        if required is not None and not isinstance(required.value, bool):
            reading.refuse(required, "`required` must be `true` or `false`")
        found.append(
            Secret(
                name,
                one.key.line,
                one.key.column,
                env=reading.text(one, "env") or None,
                target=reading.text(one, "target") or None,
                description=reading.text(one, "description"),
                is_required=required is None or required.value is not False,
                example=reading.text(one, "example"),
                is_delivered=not reading.flag(one, "only_in_text"),
            )
        )
    return found
