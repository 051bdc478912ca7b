"""
Docker's MCP Toolkit as a source: its folder (`~/.docker/mcp`), its catalogs, and exported profiles.

A server of it is read as the `docker run` that Docker's gateway would do; its secrets stay in Docker's store, which
gives none out, so they have to be set once.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mcpcompose.clients.import_docker_values import evaluated, evaluated_list
from mcpcompose.clients.import_entry import Entry
from mcpcompose.clients.import_sources import Collected, read_file
from mcpcompose.errors import UsageError

OFFICIAL: Final = "docker-mcp"
MOST_UNNAMED: Final = 25
"""A catalog of more servers is a catalog: those wanted have to be named."""
_REGISTRY: Final = "it is only named there, its definition is in an MCP registry: use `catalogs` and `from`"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One server to import: its catalog's definition, its configuration (of all servers, by name), its tools."""

    name: str
    definition: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[str, ...] | None = None


def is_catalog(root: Mapping[str, Any]) -> bool:
    """Whether *root* is a catalog of Docker's."""
    holder = root.get("registry")
    return isinstance(holder, Mapping) and any(
        isinstance(one, Mapping) and ("image" in one or "remote" in one or one.get("type")) for one in holder.values()
    )


def is_profile(root: Mapping[str, Any]) -> bool:
    """Whether *root* is an exported profile."""
    servers = root.get("servers")
    return isinstance(servers, list) and all(
        isinstance(one, Mapping) and one.get("type") in ("image", "registry", "remote") for one in servers
    )


def from_catalog(root: Mapping[str, Any], file: Path, only: Sequence[str]) -> Collected:
    """The servers of a catalog, with its defaults. Raises `UsageError` for a large one of which none is named."""
    servers = _definitions(root)
    if not only and len(servers) > MOST_UNNAMED:
        raise UsageError(
            f"`{file.name}` is a catalog of {len(servers)} servers: name those to import",
            hint=f"or use it as it is: `catalogs: {{docker: {{file: {file.name}}}}}` and `from: docker/NAME`",
        )
    wanted = [_Wanted(name, one, _defaults(one)) for name, one in servers.items()]
    return _collected(f"the catalog `{file.name}`", wanted, (file,))


def from_profile(root: Mapping[str, Any], file: Path) -> Collected:
    """The servers of an exported profile."""
    wanted, left_out = _of_profile(root)
    name = str(root.get("name") or root.get("id") or file.stem)
    found = _collected(f"the profile `{name}`", wanted, (file,))
    return replace(found, left_out=(*found.left_out, *left_out))


def from_folder(folder: Path) -> Collected:
    """
    The servers that are switched on in Docker's folder: those of its profiles, or of `registry.yaml`.

    Raises `UsageError` when there is nothing of the kind.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder `{folder}`", hint="Docker's MCP Toolkit keeps its servers there")
    profiles = list(_profiles(folder))
    enabled = _mapping(folder / "registry.yaml").get("registry")
    if profiles:
        return _from_profiles(folder, profiles)
    if not profiles and not (folder / "registry.yaml").exists():
        raise UsageError(f"`{folder}` is no folder of Docker's MCP Toolkit", hint="there is no `registry.yaml` in it")
    if not isinstance(enabled, Mapping) or not enabled:
        raise UsageError(
            f"no server is switched on in `{folder}`", hint="`docker mcp server enable` or `docker mcp profile create`"
        )
    known, files = _catalogs(folder)
    config, tools = _mapping(folder / "config.yaml"), _mapping(folder / "tools.yaml")
    wanted = [
        _Wanted(str(name), known[str(name)], _with_defaults(known[str(name)], config), _strings(tools.get(name)))
        for name in enabled
        if str(name) in known
    ]
    missing = [(str(name), "no catalog of the folder has it") for name in enabled if str(name) not in known]
    found = _collected("Docker's MCP Toolkit", wanted, (folder / "registry.yaml", *files))
    return replace(found, left_out=(*found.left_out, *missing))


def _from_profiles(folder: Path, profiles: Sequence[Mapping[str, Any]]) -> Collected:
    """All profiles as one source; a server that stands in several just so is one."""
    wanted: dict[str, _Wanted] = {}
    left_out: list[tuple[str, str]] = []
    members: dict[str, tuple[str, ...]] = {}
    for profile in profiles:
        name = _profile_name(profile)
        found, left = _of_profile(profile)
        left_out += left
        names: list[str] = []
        for one in found:
            key = one.name
            if key in wanted and replace(wanted[key], name=one.name) != one:
                key = f"{name}/{one.name}"
            wanted[key] = replace(one, name=key) if key != one.name else one
            names.append(key)
        members[name] = tuple(dict.fromkeys(names))
    made = _collected("Docker's MCP Toolkit", list(wanted.values()), (folder,))
    return replace(made, left_out=(*made.left_out, *left_out), profiles=members)


def _of_profile(root: Mapping[str, Any]) -> tuple[list[_Wanted], list[tuple[str, str]]]:
    wanted: list[_Wanted] = []
    left_out: list[tuple[str, str]] = []
    for one in root.get("servers") or ():
        if not isinstance(one, Mapping):
            continue
        snapshot = one.get("snapshot")
        definition = snapshot.get("server") if isinstance(snapshot, Mapping) else None
        label = str(one.get("image") or one.get("endpoint") or one.get("source") or "a server")
        if not isinstance(definition, Mapping):
            if one.get("type") == "registry":
                left_out.append((label, _REGISTRY))
                continue
            definition = {"type": "server", "image": one.get("image")}
            if one.get("type") == "remote":
                definition = {"type": "remote", "remote": {"url": one.get("endpoint")}}
        elif one.get("type") == "image" and one.get("image"):
            definition = {**definition, "image": one["image"]}
        name = str(definition.get("name") or _short(label))
        own = one.get("config")
        config = _with_defaults(definition, {name: own} if isinstance(own, Mapping) else {})
        wanted.append(_Wanted(name, definition, config, _strings(one.get("tools"))))
    return wanted, left_out


def _short(label: str) -> str:
    """A name for an image or a URL that has none of its own."""
    found = re.match(r"[a-z]+://([^/:]+)", label)
    return found[1] if found else re.split("[:@]", label)[0]


def _profile_name(profile: Mapping[str, Any]) -> str:
    word = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(profile.get("id") or profile.get("name") or "profile"))
    return word.strip("-.")[:64] or "profile"


def _profiles(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The profiles that newer versions keep in a database, and older ones in files."""
    for file in sorted(folder.glob("*.db")):
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=2)) as database:
                rows = database.execute("SELECT id, name, servers FROM working_set ORDER BY id").fetchall()
        except sqlite3.Error:
            continue
        for identity, name, servers in rows:
            listed = _json(servers)
            if isinstance(listed, list) and listed:
                yield {"id": identity, "name": name, "servers": listed}
    for file in sorted((folder / "working-sets").glob("*.json")):
        root = read_file(file)
        if isinstance(root, Mapping) and is_profile(root) and root["servers"]:
            yield root


def _json(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None


def _catalogs(folder: Path) -> tuple[dict[str, Mapping[str, Any]], tuple[Path, ...]]:
    """Every definition, those of later catalogs over those of Docker's own."""
    listed = _mapping(folder / "catalog.json").get("catalogs")
    names = [str(name) for name in listed] if isinstance(listed, Mapping | list) else []
    there = {file.stem: file for file in sorted((folder / "catalogs").glob("*.yaml"))}
    order = [OFFICIAL, *(name for name in names if name != OFFICIAL), *(name for name in there if name not in names)]
    files = [there[name] for name in dict.fromkeys(order) if name in there]
    found: dict[str, Mapping[str, Any]] = {}
    for file in files:
        found |= _definitions(read_file(file))
    return found, tuple(files)


def _definitions(root: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    holder = root.get("registry")
    items = holder.items() if isinstance(holder, Mapping) else ()
    return {str(name): one for name, one in items if isinstance(one, Mapping)}


def _mapping(file: Path) -> Mapping[str, Any]:
    root = read_file(file) if file.is_file() else {}
    return root if isinstance(root, Mapping) else {}


def _with_defaults(definition: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = dict(config)
    for name, values in _defaults(definition).items():
        own = found.get(name)
        found[name] = {**values, **own} if isinstance(own, Mapping) else values
    return found


def _defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a definition's own configuration."""
    found: dict[str, Any] = {}
    for one in _mappings(definition.get("config")):
        if isinstance(properties := one.get("properties"), Mapping):
            values = {k: p["default"] for k, p in properties.items() if isinstance(p, Mapping) and "default" in p}
            found[str(one.get("name"))] = values
    return found


def _collected(title: str, wanted: Iterable[_Wanted], files: tuple[Path, ...]) -> Collected:
    entries: list[Entry] = []
    left_out: list[tuple[str, str]] = []
    passwords: set[str] = set()
    for one in wanted:
        made = _entry(one, passwords)
        if isinstance(made, str):
            left_out.append((one.name, made))
        else:
            entries.append(made)
    return Collected(title, tuple(entries), tuple(left_out), files, frozenset(passwords))


def _entry(wanted: _Wanted, passwords: set[str]) -> Entry | str:
    """A definition as the entry of a client; *passwords* is told its secrets."""
    definition, config = wanted.definition, wanted.config
    secrets = {
        str(one["env"]): f"${{input:{_input(str(one['name']))}}}"
        for one in _mappings(definition.get("secrets"))
        if one.get("env") and one.get("name")
    }
    passwords |= {_input(str(one.get("name"))) for one in _mappings(definition.get("secrets"))}
    told = [key for key in ("allowHosts", "oauth") if definition.get(key)]
    allow = None if wanted.tools is None else wanted.tools
    remote = definition.get("remote")
    url = remote.get("url") if isinstance(remote, Mapping) else None
    url = url or definition.get("sseEndpoint")
    if isinstance(url, str) and url:
        kind = str(remote.get("transport_type") or "") if isinstance(remote, Mapping) else "sse"
        headers = remote.get("headers") if isinstance(remote, Mapping) else None
        pairs = headers.items() if isinstance(headers, Mapping) else ()
        found = {str(k): _expanded(str(v), secrets, config) for k, v in pairs}
        told = [key for key in told if key != "allowHosts"]
        is_sse = kind.lower() == "sse" or not isinstance(remote, Mapping)
        return Entry(wanted.name, url=url, headers=found, transport="sse" if is_sse else "http", allow=allow,
                     unread=tuple(told))  # fmt: skip
    if definition.get("type") == "poci":
        return "each of its tools is a container of its own, which there is no counterpart for"
    if not isinstance(image := definition.get("image"), str) or not image:
        return "it has neither an image nor a URL"
    return Entry(wanted.name, command="docker", args=(*_run(definition, config, secrets), image,
                 *_command(definition, config, secrets)), allow=allow, unread=tuple(told))  # fmt: skip


def _run(definition: Mapping[str, Any], config: Mapping[str, Any], secrets: Mapping[str, str]) -> Iterator[str]:
    """The words of `docker run` before the image."""
    yield from ("run", "-i", "--rm")
    if definition.get("disableNetwork") is True:
        yield from ("--network", "none")
    for name, value in secrets.items():
        yield from ("-e", f"{name}={value}")
    for one in _mappings(definition.get("env")):
        if one.get("name"):
            value = _expanded(str(one.get("value") or ""), secrets, config)
            if value:
                yield from ("-e", f"{one['name']}={value}")
    for volume in evaluated_list(definition.get("volumes"), config):
        yield from ("-v", volume)
    user = str(evaluated(str(definition.get("user") or ""), config))
    if user:
        yield from ("-u", user)
    for host in _strings(definition.get("extraHosts")) or ():
        yield from ("--add-host", host)


def _command(definition: Mapping[str, Any], config: Mapping[str, Any], secrets: Mapping[str, str]) -> Iterator[str]:
    return (_expanded(word, secrets, config) for word in evaluated_list(definition.get("command"), config))


_VARIABLE: Final = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<plain>[A-Za-z_]\w*))")


def _expanded(text: str, secrets: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """*text* with its configuration, and its secrets in the place of their variables; other variables are empty."""
    if "{{" in text:
        return str(evaluated(text, config))
    return _VARIABLE.sub(lambda match: secrets.get(match["braced"] or match["plain"], ""), text)


def _input(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else iter(())


def _strings(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(str(one) for one in value)
