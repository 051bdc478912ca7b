"""
Every key of the file has an effect or is refused: a key that is parsed and ignored would be a lie.

`EFFECTS` names, for each key, the module that reads it and the expression it is read from; the test looks the
expression up in the module's syntax tree, and `test_effects_desired.py` shows what becomes of those in `desired.py`.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from mcpcompose.config.interceptor_keys import FITS
from mcpcompose.config.load import Request, load
from mcpcompose.config.refuse import COMPOSE, NOT_YET, Pattern
from mcpcompose.config.shape import key_paths
from mcpcompose.errors import FileProblems
from mcpcompose.interceptors.registry import MAKERS

PACKAGE = Path(__file__).parent.parent.parent / "mcpcompose"
DESIRED = "orchestrator/desired.py"
PINS = "orchestrator/lock_pins.py"
RESOLVER = "secrets/resolver.py"
LOAD = "config/load.py"
SLOT = "upstream"
ALLOWANCE = "upstream/allowance.py"
COMPILER = "gateway/compiler.py"

MATCHING = "gateway/matching.py"
CHAIN = "gateway/chain.py"
OF_INTERCEPTORS = {
    "use": "registry", "run": "program", "python": "python", "url": "webhook", "image": "container",
    "format": "outside", "keep": "program", "working_dir": "program", "environment": "outside",
    "headers": "webhook", "secrets": "outside", "command": "container",
    "output": "program",
    "action": "secret_scan", "allow": "secret_scan", "entropy": "secret_scan", "key": "session_pin",
    "unpinned": "session_pin",
    "sources": "flow", "sources.*.server": "flow", "sources.*.tools": "flow", "sources.*.labels": "flow",
    "sinks": "flow", "sinks.*.server": "flow", "sinks.*.tools": "flow", "sinks.*.labels": "flow",
    "forbid": "flow", "forbid.*.after": "flow", "forbid.*.to": "flow",
    "rules": "rules", **{f"rules.*.{key}": "rules" for key in ("deny", "allow", "ask", "warn", "message")},
    **{f"allow.*.{key}": "secret_scan" for key in ("rule", "server", "path", "matching")},
    "limit": "rate_limit", "per": "rate_limit", "arguments": "size_limit", "result": "size_limit",
    "remember": "approve", "message": "approve", "remove": "sanitize", "annotations": "annotate", "note": "annotate",
}  # fmt: skip
"""Keys that one kind of interceptor reads, and its module, where it is read of the entry or a part of it."""

EFFECTS: dict[str, tuple[str, str]] = {
    "interceptors": ("gateway/governance.py", "project.interceptors"),
    "interceptors.*.name": ("spec/interceptor.py", "self.name"),
    "interceptors.*.match": ("gateway/governance.py", "spec.match"),
    **{
        f"interceptors.*.match.{key}": (MATCHING, f"match.{key}")
        for key in ("server", "tools", "profile", "client", "methods", "annotations")
    },
    "interceptors.*.when": (CHAIN, "spec.when"),
    "interceptors.*.timeout": (CHAIN, "spec.timeout"),
    "interceptors.*.concurrency": (CHAIN, "spec.concurrency"),
    "interceptors.*.on_failure": ("gateway/passage.py", "spec.on_failure"),
    **{
        f"interceptors.*.{key}": (f"interceptors/{module}.py", key.rpartition(".")[2])
        for key, module in OF_INTERCEPTORS.items()
    },
    "interceptors.*.secrets.*.source": ("interceptors/outside.py", "use.source"),
    "interceptors.*.secrets.*.env": ("interceptors/outside.py", "use.env"),
    "interceptors.*.network": ("orchestrator/interceptor_containers.py", "spec.network"),
    "interceptors.*.secrets.*.target": ("config/interceptors.py", "target"),
    "session": ("gateway/governance.py", "project.session"),
    "session.idle": ("gateway/governance.py", "project.session.idle"),
    "audit": ("gateway/governance.py", "project.audit"),
    "audit.enabled": ("gateway/governance.py", "project.audit.enabled"),
    **{f"audit.{key}": ("audit", key) for key in ("values", "sync", "rotate", "keep")},
    "name": (LOAD, "file.name"),
    "include": ("config/including.py", "tree.get('include')"),
    "include.*.path": ("config/include.py", "including.paths"),
    "include.*.env_file": ("config/include.py", "including.env_files"),
    "include.*.project_directory": ("config/include.py", "including.project_directory"),
    "engine": (LOAD, "bound.file.engine"),
    "servers": ("orchestrator/round.py", "self.project.servers"),
    "secrets": ("orchestrator/round.py", "project.secrets"),
    "profiles": (COMPILER, "project.profiles"),
    "clients": ("gateway/gateway.py", "project.clients"),
    "gateway": ("gateway/gateway.py", "project.gateway"),
    "runners": (PINS, "project.runners"),
    "runners.pypi": (PINS, "project.runners.pypi"),
    "runners.npm": (PINS, "project.runners.npm"),
    "catalogs": ("config/catalogs.py", "written.get('catalogs')"),
    **{f"catalogs.*.{key}": ("catalog/source.py", f"declared.{key}") for key in ("file", "oci", "registry", "url")},
    "servers.*.from": ("config/catalogs.py", "node.get('from')"),
    "servers.*.config": ("config/catalogs.py", "self.node.get('config')"),
    "policy": ("config/policy.py", "found.file.policy"),
    "policy.servers": ("spec/policy.py", "self.servers"),
    "policy.images": ("config/approved.py", "policy.images"),
    "policy.images.require": ("spec/policy.py", "self.require"),
    "policy.images.signed_by": ("config/policy.py", "policy.images.signed_by"),
    "gateway.listen": ("actions/context.py", "project.gateway.listen"),
    "gateway.port": ("actions/port.py", "gateway.port"),
    "gateway.auth": ("gateway/http.py", "gateway.auth"),
    "gateway.allowed_hosts": ("gateway/http.py", "gateway.allowed_hosts"),
    "gateway.allowed_origins": ("gateway/http.py", "gateway.allowed_origins"),
    "gateway.limits": ("gateway/gateway.py", "project.gateway.limits"),
    "gateway.limits.body": ("gateway/http.py", "gateway.limits.body"),
    "gateway.limits.result": ("upstream/supervisor.py", "project.gateway.limits.result"),
    "gateway.limits.head": ("gateway/protocol.py", "limits.head"),
    "gateway.limits.headers": ("gateway/protocol.py", "limits.headers"),
    "gateway.limits.connections": ("gateway/protocol.py", "limits.connections"),
    "gateway.limits.calls": ("gateway/kernel.py", "self.limits.calls"),
    "gateway.limits.replay": ("gateway/http.py", "gateway.limits.replay"),
    "gateway.limits.sessions": ("gateway/http.py", "gateway.limits.sessions"),
    "gateway.limits.streams": ("gateway/kernel.py", "limits.streams"),
    "gateway.limits.page": ("gateway/kernel.py", "self.limits.page"),
    "gateway.limits.subscriptions": ("gateway/kernel.py", "limits.subscriptions"),
    "gateway.limits.parked": ("gateway/kernel.py", "limits.parked"),
    "gateway.timeouts": ("gateway/gateway.py", "project.gateway.timeouts"),
    "gateway.timeouts.receive": ("gateway/protocol.py", "timeouts.receive"),
    "gateway.timeouts.stalled": ("gateway/protocol.py", "timeouts.stalled"),
    "gateway.timeouts.keep_alive": ("gateway/protocol.py", "timeouts.keep_alive"),
    "gateway.timeouts.session": ("gateway/http.py", "gateway.timeouts.session"),
    "profiles.*.servers": (COMPILER, "profile.servers"),
    "profiles.*.tools": (COMPILER, "self._profile.tools"),
    "clients.*.profile": ("gateway/gateway.py", "client.profile"),
    "secrets.*.*.environment": ("secrets/providers.py", "source.environment"),
    "secrets.*.*.file": ("secrets/providers.py", "source.file"),
    "secrets.*.*.command": ("secrets/providers.py", "source.command"),
    "secrets.*.*.keyring": ("secrets/providers.py", "source.keyring"),
    "secrets.*.*.docker": ("secrets/providers.py", "source.docker"),
    "secrets.*.*.podman": ("secrets/providers.py", "source.podman"),
    "secrets.*.*.dotenv": ("secrets/providers.py", "source.dotenv"),
    "secrets.*.*.dotenv.file": ("secrets/providers.py", "source.dotenv.file"),
    "secrets.*.*.dotenv.key": ("secrets/providers.py", "source.dotenv.key"),
    **{
        f"servers.*.{key}": (DESIRED, f"server.{key}")
        for key in (
            "image", "build", "package", "process", "command", "args", "entrypoint", "environment", "secrets",
            "network", "volumes", "tmpfs", "read_only", "user", "working_dir", "cpus", "mem_limit", "pids_limit",
            "shm_size", "extra_hosts", "dns", "platform", "pull_policy", "labels", "init", "privileged", "cap_add",
            "devices", "security_opt", "pid", "ipc", "userns_mode", "unsafe", "depends_on", "stop_grace_period",
        )
    },
    "servers.*.runner": (PINS, "server.runner"),
    "servers.*.url": (RESOLVER, "server.url"),
    "servers.*.headers": (RESOLVER, "server.headers"),
    "servers.*.env_file": ("config/complete.py", "server.env_file"),
    "servers.*.build.context": (DESIRED, "build.context"),
    "servers.*.build.dockerfile": (DESIRED, "build.dockerfile"),
    "servers.*.build.args": (DESIRED, "build.args"),
    "servers.*.build.target": (DESIRED, "build.target"),
    "servers.*.transport": (DESIRED, "server.http"),
    "servers.*.transport.http": (DESIRED, "server.http"),
    "servers.*.transport.http.port": (DESIRED, "server.http.port"),
    "servers.*.transport.http.path": (DESIRED, "server.http.path"),
    "servers.*.volumes.*.type": (DESIRED, "volume.type"),
    "servers.*.volumes.*.source": (DESIRED, "v.source"),
    "servers.*.volumes.*.target": (DESIRED, "volume.target"),
    "servers.*.volumes.*.read_only": (DESIRED, "volume.read_only"),
    "servers.*.secrets.*.source": (DESIRED, "use.source"),
    "servers.*.secrets.*.env": (DESIRED, "use.env"),
    "servers.*.secrets.*.target": (DESIRED, "use.target"),
    "servers.*.tools": (COMPILER, "self._servers[name].tools"),
    "servers.*.tools.allow": ("gateway/fragments.py", "rules.allow"),
    "servers.*.tools.deny": ("gateway/fragments.py", "rules.deny"),
    "servers.*.tools.rename": ("gateway/fragments.py", "rules.rename"),
    "servers.*.tools.override": ("gateway/fragments.py", "rules.override"),
    "servers.*.tools.override.*.description": ("gateway/fragments.py", "said.description"),
    "servers.*.tools.override.*.title": ("gateway/fragments.py", "said.title"),
    "servers.*.title": (COMPILER, "self._servers[name].title"),
    "servers.*.extends": ("config/extend.py", "node.get('extends')"),
    "servers.*.extends.server": ("config/extend.py", "words.get('server')"),
    "servers.*.extends.service": ("config/extend.py", "words.get('service')"),
    "servers.*.extends.file": ("config/extend.py", "words.get('file')"),
    "servers.*.healthcheck": (DESIRED, "server.healthcheck"),
    "servers.*.healthcheck.test": (DESIRED, "health.command"),
    "servers.*.healthcheck.disable": (DESIRED, "health.command"),
    **{
        f"servers.*.healthcheck.{key}": (DESIRED, f"health.{key}")
        for key in ("interval", "timeout", "retries", "start_period", "start_interval")
    },
    "servers.*.network.allow": (DESIRED, "server.network.allow"),
    "servers.*.integrity": ("gateway/integrity.py", "server.integrity"),
    "servers.*.prefix": (COMPILER, "server.prefix"),
    "servers.*.instructions": (COMPILER, "project.servers[name].instructions"),
    "servers.*.era": (SLOT, "_spec.era"),
    "servers.*.restart": ("upstream/retry.py", "server.restart"),
    "servers.*.timeouts": (SLOT, "_spec.timeouts"),
    "servers.*.timeouts.connect": (SLOT, "_spec.timeouts.connect"),
    "servers.*.timeouts.start": (SLOT, "_spec.timeouts.start"),
    "servers.*.timeouts.call": (SLOT, "spec.timeouts.call"),
    "servers.*.timeouts.total": (SLOT, "spec.timeouts.total"),
    "servers.*.timeouts.parked": (ALLOWANCE, "timeouts.parked"),
    "servers.*.limits": (SLOT, "spec.limits"),
    "servers.*.limits.result": (ALLOWANCE, "limits.result"),
    "servers.*.limits.calls": (ALLOWANCE, "limits.calls"),
    "servers.*.limits.questions": ("upstream/call.py", "self.allowance.limits.questions"),
    "servers.*.limits.notes": ("upstream/call.py", "limits.notes"),
    "servers.*.limits.notes_size": ("upstream/call.py", "limits.notes_size"),
    "servers.*.limits.items": ("upstream/handshake.py", "limits.items"),
    "servers.*.limits.lists": ("upstream/handshake.py", "limits.lists"),
    "servers.*.limits.body": (SLOT, "limits.body"),
    "servers.*.limits.backlog": ("upstream/stream.py", "limits.backlog"),
    "servers.*.limits.waiting": ("upstream/parking.py", "self._allowance.limits.waiting"),
    "servers.*.limits.conversations": ("upstream/lanes.py", "self._allowance.limits.conversations"),
    "servers.*.limits.connections": ("upstream/door.py", "self._allowance.limits.connections"),
    "servers.*.scope": (SLOT, "spec.scope"),
    "servers.*.instances": (SLOT, "spec.instances"),
    "servers.*.instances.limit": (SLOT, "spec.instances.limit"),
    "servers.*.instances.warm": (SLOT, "spec.instances.warm"),
    "servers.*.idle_timeout": (SLOT, "_spec.idle_timeout"),
}  # fmt: skip

KEYS = sorted({".".join(path) for path in key_paths()})


@cache
def expressions(module: str) -> frozenset[str]:
    """Every expression of a module, or of all modules of a folder."""
    place = PACKAGE / module
    files = sorted(place.glob("*.py")) if place.is_dir() else [place]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return frozenset(ast.unparse(node) for node in nodes if isinstance(node, ast.expr))


def is_refused(key: str) -> bool:
    parts = tuple(key.split("."))
    return any(parts[:end] in NOT_YET for end in range(1, len(parts) + 1))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_refused_or_read_where_its_effect_is(key: str) -> None:
    if is_refused(key):
        assert key not in EFFECTS
        return
    module, expression = EFFECTS[key]
    assert any(found == expression or found.endswith(f".{expression}") for found in expressions(module))


def attributes(module: str, done: set[str]) -> set[str]:
    """The attributes that a module of the interceptors reads, or one that it imports from there."""
    done.add(module)
    place = PACKAGE.parent / module.replace(".", "/")
    tree = ast.parse((place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_text())
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        inner = node.module if isinstance(node, ast.ImportFrom) else None
        if inner and inner.startswith("mcpcompose.interceptors.") and inner not in done:
            found |= attributes(inner, done)
    return found


@pytest.mark.parametrize(("key", "owner"), [(key, owner) for key, owners in FITS.items() for owner in owners])
def test_a_key_is_read_by_every_kind_it_belongs_to(key: str, owner: str) -> None:
    if key == "when" or (key, owner) == ("network", "image"):
        return  # read by the chain, for all of them; there is one network only
    read = attributes(MAKERS[owner].partition(":")[0], set())

    assert key in read or (key == "action" and "acts" in read)


def test_no_effect_is_named_for_a_key_that_does_not_exist() -> None:
    assert set(EFFECTS) <= set(KEYS)


def test_a_key_that_is_not_supported_says_so_in_its_description() -> None:
    from mcpcompose.config.schema import json_schema

    schema = json_schema()
    servers = schema["$defs"]["Server"]["properties"]
    for pattern in NOT_YET:
        if pattern[0] == "servers" and len(pattern) == 3:
            assert "not supported yet" in servers[pattern[2]]["description"]
        elif len(pattern) == 1:
            assert "not supported yet" in schema["properties"][pattern[0]]["description"]


@pytest.mark.parametrize(("pattern", "value"), [(p, {"x": "y"}) for p in (*NOT_YET, *COMPOSE)], ids=str)
def test_a_refused_key_is_refused_with_its_place_and_nothing_else(
    pattern: Pattern, value: object, tmp_path: Path
) -> None:
    import json

    nested: object = value
    for key in reversed(pattern[2:] if pattern[0] in ("servers", "secrets") else pattern):
        nested = [nested] if key == "*" else {key: nested}
    file: dict[str, object] = {"servers": {"a": {"image": "x"}}}
    if pattern[0] == "servers":
        assert isinstance(nested, dict)
        file = {"servers": {"a": {"image": "x", **nested}}}
    elif pattern[0] == "secrets":
        file["secrets"] = {"a": nested}
    else:
        assert isinstance(nested, dict)
        file.update(nested)
    (tmp_path / "mcp-compose.yaml").write_text(json.dumps(file))

    with pytest.raises(FileProblems) as caught:
        load(Request(files=(), directory=tmp_path, environ={}, home=tmp_path))

    (problem,) = caught.value.problems
    assert "not supported yet" in problem.message or "is not a key here" in problem.message
    assert problem.position is not None
