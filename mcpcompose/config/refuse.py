"""
Keys that are known and refused: Compose keys that have no place here, and keys whose effect is not built yet.

Both are tables keyed by path; a refused value is taken out, so that nothing else complains about it.
"""

from __future__ import annotations

from typing import Final, TypeVar

from mcpcompose.config.tree import Entry, Map, Node, Path, Scalar, Seq
from mcpcompose.errors import Problem

Pattern = tuple[str, ...]
Found = TypeVar("Found")

NOT_YET: Final[dict[Pattern, str]] = {
    ("models",): "local models",
    ("gateway", "auth", "jwt"): "JWT authentication",
    ("servers", "*", "auth"): "OAuth",
}
"""Keys whose effect is not built yet, with what to call it."""

_WAYS_ROUND: Final[dict[Pattern, str]] = {
    ("servers", "*", "auth"): "until then a token in `headers`, as `${secret:name}`",
    ("gateway", "auth", "jwt"): "until then `token`",
}

_OWN_NETWORK: Final = "each server has its own network; see `network`"
_OF_SERVER: Final[dict[str, str]] = {
    "ports": "servers are reached through the gateway only; no port is published",
    "expose": "servers are reached through the gateway only; no port is published",
    "networks": _OWN_NETWORK,
    "network_mode": f"{_OWN_NETWORK}: `none`, `isolated`, `open` or `host`",
    "links": _OWN_NETWORK,
    "external_links": _OWN_NETWORK,
    "container_name": "container names are `<project>-<server>-<n>`",
    "hostname": "server containers have no host names",
    "domainname": "server containers have no host names",
    "deploy": "limits are `cpus`, `mem_limit` and `pids_limit`; who shares an instance is `scope`",
    "scale": "who shares an instance is `scope`, and how many there may be `instances`",
    "profiles": "profiles are declared at the top level, with the servers of each",
    "configs": "mount a file with `volumes`",
    "logging": "logs are kept by `mcp-compose`; see `mcp-compose logs`",
    "log_driver": "logs are kept by `mcp-compose`; see `mcp-compose logs`",
    "volumes_from": "name the volumes in `volumes`",
    "cap_drop": "all capabilities are dropped already; see `cap_add`",
    "stdin_open": "standard input is always open for stdio servers",
    "tty": "a terminal would break the protocol's framing",
    "cgroup": "the engine's own control group is used",
    "cgroup_parent": "the engine's own control group is used",
    "sysctls": "kernel parameters cannot be set",
    "ulimits": "limits are `cpus`, `mem_limit` and `pids_limit`",
    "group_add": "set the group with `user`, as `uid:gid`",
    "runtime": "the engine's default runtime is used",
    "isolation": "the engine's default isolation is used",
    "uts": "namespaces of the host are `pid`, `ipc` and `userns_mode`, and need `unsafe`",
    "credential_spec": "only Linux containers are supported",
    "gpus": "name the devices in `devices` and in `unsafe`",
    "mac_address": _OWN_NETWORK,
    "develop": "the file is watched by itself; see `up --no-watch`",
    "post_start": "put what must run into the image",
    "pre_stop": "put what must run into the image",
    "stop_signal": "servers end when their input is closed, then by SIGTERM",
    "mem_reservation": "the limit is `mem_limit`",
    "memswap_limit": "the limit is `mem_limit`",
    "oom_kill_disable": "the limit is `mem_limit`",
    "cpu_shares": "the limit is `cpus`",
    "cpu_quota": "the limit is `cpus`",
    "cpu_period": "the limit is `cpus`",
    "cpuset": "the limit is `cpus`",
    "provider": "see `image`, `package`, `process` and `url`",
    "label_file": "write the labels in `labels`",
    "annotations": "see `labels`",
    "dns_search": "see `dns` and `extra_hosts`",
    "dns_opt": "see `dns` and `extra_hosts`",
    "attach": "logs are kept by `mcp-compose`; see `mcp-compose logs`",
}
_OF_FILE: Final[dict[str, str]] = {
    "version": "the key is obsolete in Compose too; remove it",
    "services": "did you mean `servers`?",
    "mcpServers": "did you mean `servers`?",
    "networks": _OWN_NETWORK,
    "volumes": "named volumes need no declaration",
    "configs": "mount a file with `volumes`",
}
COMPOSE: Final[dict[Pattern, str]] = {
    **{("servers", "*", key): why for key, why in _OF_SERVER.items()},
    **{(key,): why for key, why in _OF_FILE.items()},
}
"""Keys of Compose (and of other tools) that are refused on purpose, with the reason."""


_KEYS: Final = frozenset(pattern[-1] for pattern in (*NOT_YET, *COMPOSE))
"""Every key that is refused somewhere: most keys of a file are not among them."""


def refuse(tree: Map) -> tuple[Map, tuple[Problem, ...]]:
    """*tree* without refused keys, and a problem for each."""
    problems: list[Problem] = []
    kept = _without(tree, (), problems)
    return (kept if isinstance(kept, Map) else tree.with_entries({})), tuple(problems)


def _without(node: Node, path: Path, problems: list[Problem]) -> Node | None:
    """*node* without what is refused; None when nothing is left of it."""
    if len(path) > 5:  # noqa: PLR2004  no refused key is deeper
        return node
    if isinstance(node, Scalar):
        return node
    if isinstance(node, Seq):
        items = [_without(item, (*path, i), problems) for i, item in enumerate(node.items)]
        kept = tuple(item for item in items if item is not None)
        return Seq(kept, node.position) if kept or not items else None
    entries: dict[str, Entry] = {}
    for key, entry in node.entries.items():
        inner = (*path, key)
        if message := _refused(inner):
            problems.append(Problem(message, entry.key, _hint(inner)))
        elif (child := _without(entry.node, inner, problems)) is not None:
            entries[key] = Entry(entry.key, child)
    return node.with_entries(entries) if entries or not node.entries else None


def _refused(path: Path) -> str | None:
    if path[-1] not in _KEYS:
        return None
    if what := _lookup(NOT_YET, path):
        return f"`{path[-1]}` is not supported yet ({what})"
    if why := _lookup(COMPOSE, path):
        return f"`{path[-1]}` is not a key here: {why}"
    return None


def _hint(path: Path) -> str | None:
    return _lookup(_WAYS_ROUND, path)


def _lookup(table: dict[Pattern, Found], path: Path) -> Found | None:
    named = path[0] in ("servers", "secrets") if path else False
    pattern = tuple("*" if isinstance(key, int) or (i == 1 and named) else key for i, key in enumerate(path))
    return table.get(pattern)
