"""Every key that `orchestrator/desired.py` reads changes what is wanted: the very field that is stated here."""

from __future__ import annotations

import json
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import test_effects as effects

from mcpcompose.config.load import Request, load
from mcpcompose.engine.base import Http, Mount, SecretFile
from mcpcompose.orchestrator.desired import Desired, desired
from mcpcompose.spec.identity import Owner

IMAGE = {"image": "img"}
NAMED = {
    **IMAGE,
    "unsafe": [
        "privileged", "cap_add:NET_ADMIN", "device:/dev/x", "security_opt:x=y", "pid:host", "ipc:host",
        "userns_mode:host",
    ],
}  # fmt: skip
"""What it may have that is refused otherwise."""
BUILD: dict[str, Any] = {"build": {"context": "./b"}}
PYPI = {"package": "pypi:one"}
NPM = {"package": "npm:one"}
HTTP: dict[str, Any] = {**IMAGE, "transport": {"http": {"port": 80}}}
BIND = {"type": "bind", "source": "/s", "target": "/t"}
CHECKED: dict[str, Any] = {"healthcheck": {"test": "true"}}
SPEC = "instances.0"

# By key: the server before, what is added to it, the field that changes, and to what.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str, Any]] = {
    "image": (IMAGE, {"image": "other"}, f"{SPEC}.source.ref", "other"),
    "build": (IMAGE, {"image": None, **BUILD}, f"{SPEC}.source.context.name", "b"),
    "build.context": (BUILD, {"build": {"context": "./c"}}, f"{SPEC}.source.context.name", "c"),
    "build.dockerfile": (BUILD, {"build": {"context": "./b", "dockerfile": "D"}}, f"{SPEC}.source.dockerfile", "D"),
    "build.args": (BUILD, {"build": {"context": "./b", "args": {"K": "v"}}}, f"{SPEC}.source.args", (("K", "v"),)),
    "build.target": (BUILD, {"build": {"context": "./b", "target": "t"}}, f"{SPEC}.source.target", "t"),
    "package": (PYPI, {"package": "pypi:two"}, f"{SPEC}.source.requirement", "two"),
    "process": ({"process": ["one"]}, {"process": ["two", "x"]}, f"{SPEC}.command", ("two", "x")),
    "runner": (PYPI, {"runner": "r"}, f"{SPEC}.source.runner", "r"),
    "command": (IMAGE, {"command": ["c", "d"]}, f"{SPEC}.command", ("c", "d")),
    "args": (PYPI, {"args": ["-x"]}, f"{SPEC}.command", ("-x",)),
    "entrypoint": (IMAGE, {"entrypoint": ["e"]}, f"{SPEC}.entrypoint", ("e",)),
    "environment": (IMAGE, {"environment": {"K": "v"}}, f"{SPEC}.environment", (("K", "v"),)),
    "secrets": (IMAGE, {"secrets": ["s"]}, f"{SPEC}.secret_files", (SecretFile("s", "s"),)),
    "secrets.*.source": (IMAGE, {"secrets": [{"source": "s"}]}, f"{SPEC}.secret_files", (SecretFile("s", "s"),)),
    "secrets.*.env": (
        IMAGE,
        {"secrets": [{"source": "s", "env": "E"}]},
        f"{SPEC}.environment",
        (("E", "${secret:s}"),),
    ),
    "secrets.*.target": (
        {**IMAGE, "secrets": ["s"]},
        {"secrets": [{"source": "s", "target": "t"}]},
        f"{SPEC}.secret_files",
        (SecretFile("s", "t"),),
    ),
    "network": (IMAGE, {"network": "open"}, "networks.0.internal", False),
    "network.allow": (
        {**IMAGE, "network": {"allow": ["a.b:443"]}},
        {"network": {"allow": ["a.b:444"]}},
        "networks.0.egress.allow",
        ("a.b:444",),
    ),
    "volumes": (IMAGE, {"volumes": ["v:/t"]}, f"{SPEC}.mounts", (Mount("volume", "p_v", "/t"),)),
    "volumes.*.type": (IMAGE, {"volumes": [{**BIND, "type": "volume", "source": "v"}]}, "volumes.0.name", "p_v"),
    "volumes.*.source": (IMAGE, {"volumes": [BIND]}, f"{SPEC}.mounts.0.source", "/s"),
    "volumes.*.target": (IMAGE, {"volumes": [BIND]}, f"{SPEC}.mounts.0.target", "/t"),
    "volumes.*.read_only": (
        {**IMAGE, "volumes": [BIND]},
        {"volumes": [{**BIND, "read_only": True}]},
        f"{SPEC}.mounts.0.read_only",
        True,
    ),
    "tmpfs": (IMAGE, {"tmpfs": ["/run"]}, f"{SPEC}.hardening.tmpfs", ("/run",)),
    "read_only": (IMAGE, {"read_only": False}, f"{SPEC}.hardening.read_only", False),
    "user": (IMAGE, {"user": "7:7"}, f"{SPEC}.user", "7:7"),
    "working_dir": (IMAGE, {"working_dir": "/w"}, f"{SPEC}.working_dir", "/w"),
    "cpus": (IMAGE, {"cpus": 0.5}, f"{SPEC}.hardening.cpus", 0.5),
    "mem_limit": (IMAGE, {"mem_limit": "64m"}, f"{SPEC}.hardening.memory", 64 << 20),
    "pids_limit": (IMAGE, {"pids_limit": 9}, f"{SPEC}.hardening.pids", 9),
    "shm_size": (IMAGE, {"shm_size": "1m"}, f"{SPEC}.hardening.shm_size", 1 << 20),
    "extra_hosts": (HTTP, {"extra_hosts": {"h": "10.0.0.1"}}, f"{SPEC}.extra_hosts", (("h", "10.0.0.1"),)),
    "dns": (HTTP, {"dns": ["10.0.0.1"]}, f"{SPEC}.dns", ("10.0.0.1",)),
    "platform": (IMAGE, {"platform": "linux/arm64"}, f"{SPEC}.source.platform", "linux/arm64"),
    "pull_policy": (IMAGE, {"pull_policy": "never"}, "pull", (("a", "never"), ("b", "missing"))),
    "labels": (IMAGE, {"labels": {"k": "v"}}, f"{SPEC}.labels.-1", ("k", "v")),
    "init": (IMAGE, {"init": False}, f"{SPEC}.hardening.init", False),
    "privileged": (NAMED, {"privileged": True}, f"{SPEC}.hardening.privileged", True),
    "cap_add": (NAMED, {"cap_add": ["NET_ADMIN"]}, f"{SPEC}.hardening.cap_add", ("NET_ADMIN",)),
    "devices": (NAMED, {"devices": ["/dev/x"]}, f"{SPEC}.hardening.devices", ("/dev/x",)),
    "security_opt": (NAMED, {"security_opt": ["x=y"]}, f"{SPEC}.hardening.security_opt", ("x=y",)),
    "pid": (NAMED, {"pid": "host"}, f"{SPEC}.hardening.pid_host", True),
    "ipc": (NAMED, {"ipc": "host"}, f"{SPEC}.hardening.ipc_host", True),
    "userns_mode": (NAMED, {"userns_mode": "host"}, f"{SPEC}.hardening.userns_host", True),
    "unsafe": (IMAGE, {"unsafe": ["privileged"]}, f"{SPEC}.unsafe", ("privileged",)),
    "healthcheck": (IMAGE, CHECKED, f"{SPEC}.check.test", ("CMD-SHELL", "true")),
    "healthcheck.test": (IMAGE, {"healthcheck": {"test": ["CMD", "x"]}}, f"{SPEC}.check.test", ("CMD", "x")),
    "healthcheck.disable": (
        {**IMAGE, **CHECKED},
        {"healthcheck": {"test": "true", "disable": True}},
        f"{SPEC}.check",
        None,
    ),
    **{
        f"healthcheck.{key}": (
            {**IMAGE, **CHECKED},
            {"healthcheck": {"test": "true", key: value}},
            f"{SPEC}.check.{key}",
            value,
        )
        for key, value in (
            ("interval", 2.0),
            ("timeout", 2.0),
            ("retries", 7),
            ("start_period", 2.0),
            ("start_interval", 2.0),
        )
    },
    "depends_on": (IMAGE, {"depends_on": ["b"]}, "after", (("a", ("b",)),)),
    "stop_grace_period": (IMAGE, {"stop_grace_period": "3s"}, f"{SPEC}.stop_grace_period", 3.0),
    "transport": (IMAGE, {"transport": {"http": {"port": 80}}}, f"{SPEC}.transport", Http(80, "/mcp")),
    "transport.http": (IMAGE, {"transport": {"http": {"port": 80}}}, f"{SPEC}.transport", Http(80, "/mcp")),
    "transport.http.port": (HTTP, {"transport": {"http": {"port": 81}}}, f"{SPEC}.transport.port", 81),
    "transport.http.path": (HTTP, {"transport": {"http": {"port": 80, "path": "/x"}}}, f"{SPEC}.transport.path", "/x"),
}

TAKES_NO_NEW_INSTANCE = {"pull_policy", "depends_on", "stop_grace_period"}
"""What is changed without replacing the container: its label, the configuration's hash, stays."""


def test_every_key_that_is_read_there_has_its_change_here() -> None:
    there = {
        key.removeprefix("servers.*.")
        for key, (module, _) in effects.EFFECTS.items()
        if module in {effects.DESIRED, effects.PINS}
    }

    assert there - {"runners", "runners.pypi", "runners.npm"} == set(CHANGES)


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_changes_its_field_of_what_is_wanted(key: str, tmp_path: Path) -> None:
    before, added, field, value = CHANGES[key]
    after = {name: kept for name, kept in {**before, **added}.items() if kept is not None}

    old, new = wanted(before, tmp_path), wanted(after, tmp_path)

    assert at(new, field) == value
    assert at(old, field) != value
    assert (old.instances[0].labels == new.instances[0].labels) is (key in TAKES_NO_NEW_INSTANCE)


@pytest.mark.parametrize(("kind", "server"), [("pypi", PYPI), ("npm", NPM)])
def test_a_projects_runner_is_what_packages_are_installed_on(kind: str, server: dict[str, Any], tmp_path: Path) -> None:
    assert at(wanted(server, tmp_path, runners={kind: "r"}), f"{SPEC}.source.runner") == "r"
    assert at(wanted(server, tmp_path), f"{SPEC}.source.runner") != "r"


def wanted(server: dict[str, Any], directory: Path, **top: Any) -> Desired:
    """What a file with this server `a` wants."""
    servers = {"a": server, "b": {"image": "b"}}
    secrets = {"s": {"environment": "S"}}
    file = directory / "mcp-compose.yaml"
    file.write_text(json.dumps({"name": "p", "servers": servers, "secrets": secrets, **top}))
    (directory / "b").mkdir(exist_ok=True)
    (directory / "c").mkdir(exist_ok=True)
    loaded = load(Request(files=(file,), directory=directory, environ={}, home=directory))
    return desired(loaded.project, Owner("p", "id"))


def at(thing: Any, path: str) -> Any:
    """The value at *path*; None where there is nothing."""

    def step(here: Any, name: str) -> Any:
        if isinstance(here, tuple):
            return here[int(name)] if len(here) > int(name) else None
        return getattr(here, name, None)

    return reduce(step, path.split("."), thing)
